"""`assert_parity`: hold saved files against a model at hand, in a test of your own.

    assert_parity(model, "model.mlpackage")

The same check as `fuseport check`: the model in float64 is the truth, the file is opened from the disk and run on every
engine of its format, and the bound is measured. A file that no engine could judge fails the assertion too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ..models.inputs import Given
from ..models.loaded import Loaded
from ..models.user_model import load_module
from ..models.variant import Preprocessing
from .artifact import Artifact, NotRun
from .job import Checks, Source
from .quiet import quiet
from .recheck.mapping import COLOURS
from .recheck.recheck import CheckReport, recheck
from .recheck.stored import Stored
from .recheck.targets import Asked
from .saved.opened import open_artifact


class NotAssertable(ValueError):
    """A model or file that cannot be compared as it is; the message is one line with the next step."""


def assert_parity(
    model: nn.Module | str | Path,
    artifact: str | Path,
    *more: str | Path,
    inputs: Tensor | NDArray | None = None,
    samples: int = 4,
    seed: int = 0,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    atol: float | None = None,
    rtol: float | None = None,
    input_map: Mapping[str, str] | None = None,
    output_map: Mapping[str, str] | None = None,
    input_range: str = "normalised",
) -> CheckReport:
    """The check of the files, if all of them compute what `model` computes; else an AssertionError that says where not.

    `model` is a module in evaluation mode, or what `fuseport check --against` takes: the name of a variant, a
    checkpoint, a report. `inputs` (N, …), as a model of one input takes them, stand in for `samples` seeded ones;
    `mean` and `std` are needed for a file that normalises by itself, unless timm left them in the model. `atol` and
    `rtol` replace the measured bound. Raises ValueError with one line for what cannot be compared.
    """
    __tracebackhide__ = True
    paths = tuple(Path(path) for path in (artifact, *more))
    asked = Asked(
        artifacts=paths,
        checks=Checks(samples=samples, atol=atol, rtol=rtol, seed=seed),
        input_map=input_map or {},
        output_map=output_map or {},
        input_range=input_range,
    )
    if isinstance(model, (str, Path)):
        name, asked = "image", replace(asked, against=str(model))
    else:
        loaded = _at_hand(model, open_artifact(paths[0]), inputs, mean, std)
        name = loaded.inputs[0].name
        asked = replace(asked, loaded=loaded, source=Source(loaded.variant.name))
    if inputs is not None:
        asked = replace(asked, inputs=Stored(Path("inputs="), {name: _array(inputs)}))
    with quiet("torch.__trace"):  # what torch traces for itself would bury the failure under pytest's captured log
        report = recheck(asked)
    if report.outcome != "passed":
        raise AssertionError(failure(report))
    return report


def failure(report: CheckReport) -> str:
    """What is wrong, for a person who reads a test's log: each file, output, error, bound, and where it begins."""
    lines = [f"parity {report.outcome}: {report.reason}"]
    for result in report.results:
        lines.append(f"  {result.artifact.path} against {result.against}")
        for check in result.checks:
            if isinstance(check.parity, NotRun):
                lines.append(f"    {check.engine}: not run: {check.parity.reason}")
                continue
            for output in check.parity.outputs:
                lines.append(f"    {check.engine}: {output.name}: {output.verdict}: {output.reason}")
        lines += [f"    {found.stage}: {found.what}" for found in result.findings]
        lines += [f"    note: {note}" for note in result.notes]
    return "\n".join(lines)


def _at_hand(
    model: nn.Module,
    artifact: Artifact,
    inputs: Tensor | NDArray | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> Loaded:
    """The module as if it had been loaded. Raises ValueError with one line for one that cannot be compared as it is."""
    if not isinstance(model, nn.Module):
        raise NotAssertable(f"expected a torch module or the name of a model, got {type(model).__name__}")
    given = _given(artifact) if inputs is None else (Given("", (1, *inputs.shape[1:])),)
    loaded = load_module(model, given)
    return replace(loaded, preprocessing=_preprocessing(model, artifact, loaded, mean, std))


def _given(artifact: Artifact) -> tuple[Given, ...]:
    """The file's inputs as the model's: pictures (1, C, H, W) however the file lays them out, floats in float32."""
    told = []
    for spec in artifact.inputs:
        batch, *sizes = spec.shape or ("?",)
        if not all(isinstance(size, int) for size in sizes):
            raise NotAssertable(f"{artifact.path.name} takes {spec.name} {spec.shape}, of open size; give inputs=")
        if len(sizes) == 3 and sizes[2] in COLOURS and sizes[0] not in COLOURS:
            sizes = [sizes[2], *sizes[:2]]
        dtype = "float32" if spec.kind == "image" or spec.dtype.startswith("float") else spec.dtype
        shape = (batch if isinstance(batch, int) else 1, *map(int, sizes))
        told.append(Given("" if len(artifact.inputs) == 1 else spec.name, shape, dtype))
    return tuple(told)


def _preprocessing(
    model: nn.Module,
    artifact: Artifact,
    loaded: Loaded,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> Preprocessing | None:
    """How the model's pictures are made: as given, or as timm left it in the model; None where nobody knows."""
    if (mean is None) != (std is None):
        raise NotAssertable("mean= and std= go together; give both")
    if mean is None or std is None:
        known = getattr(model, "pretrained_cfg", None)
        known = known if isinstance(known, Mapping) else {}
        mean, std = known.get("mean"), known.get("std")
    if mean is not None and std is not None and loaded.inputs[0].is_map:
        _, height, width = loaded.inputs[0].shape
        return Preprocessing(size=height, resize=height, mean=tuple(mean), std=tuple(std), width=width)
    if any(given.kind == "image" for given in artifact.inputs):
        raise NotAssertable(f"{artifact.path.name} takes pictures of 0..255; say how the model's are: mean=, std=")
    return None


def _array(inputs: Tensor | NDArray) -> NDArray:
    return inputs.detach().cpu().float().numpy() if isinstance(inputs, Tensor) else np.asarray(inputs)
