"""`assert_parity`: hold saved files against a model at hand, in a test of your own.

    assert_parity(model, "model.mlpackage")

The same check as `fuseport check`: the model in float64 is the truth, the file is opened from the disk and run on every
engine of its format, and the bound is measured. A file that no engine could judge fails the assertion too.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..models.inputs import Input
from ..models.loaded import Loaded, Weights
from ..models.variant import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, Variant
from .artifact import Artifact, NotRun
from .job import Checks, Source
from .mapping import COLOURS
from .opened import open_artifact
from .recheck import CheckReport, recheck
from .stored import Stored
from .targets import Asked


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

    `model` is a module in evaluation mode that takes pictures (N, C, H, W), or what `fuseport check --against` takes:
    the name of a variant, a checkpoint, a report. `inputs` (N, C, H, W), normalised, stand in for `samples` synthetic
    pictures; `mean` and `std` are needed for a file that normalises by itself, unless timm left them in the model.
    `atol` and `rtol` replace the measured bound. Raises ValueError with one line for what cannot be compared.
    """
    __tracebackhide__ = True
    paths = tuple(Path(path) for path in (artifact, *more))
    asked = Asked(
        artifacts=paths,
        checks=Checks(samples=samples, atol=atol, rtol=rtol, seed=seed),
        inputs=None if inputs is None else _stored(inputs),
        input_map=input_map or {},
        output_map=output_map or {},
        input_range=input_range,
    )
    if isinstance(model, (str, Path)):
        report = recheck(replace(asked, against=str(model)))
    else:
        loaded = _at_hand(model, open_artifact(paths[0]), inputs, mean, std)
        source = Source(loaded.variant.name, in_chans=loaded.inputs[0].shape[0])
        report = recheck(replace(asked, loaded=loaded, source=source))
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
    """The module as if it had been loaded. Raises NotAssertable for one that cannot be compared as it is."""
    if not isinstance(model, nn.Module):
        raise NotAssertable(f"expected a torch module or the name of a model, got {type(model).__name__}")
    if model.training:
        raise NotAssertable("the model is in training mode, in which it computes something else; call model.eval()")
    shape = _picture(artifact) if inputs is None else tuple(inputs.shape[1:])
    if len(shape) != 3:
        raise NotAssertable(f"expected inputs of shape (N, C, H, W), got {('N', *shape)}")
    how = _preprocessing(model, artifact, shape, mean, std)
    variant = Variant(type(model).__name__, "yours", lambda **options: model, how, None, None)
    return Loaded(_on_cpu(model), variant, Weights("given", "those of the module"), (Input("image", shape),), how)


def _picture(artifact: Artifact) -> tuple[int, int, int]:
    """Channels, height and width of the file's only input."""
    spec = artifact.inputs[0] if len(artifact.inputs) == 1 else None
    sizes = () if spec is None else spec.shape[1:]
    if len(sizes) != 3 or not all(isinstance(size, int) for size in sizes):
        told = " and ".join(f"{given.name} {given.shape}" for given in artifact.inputs) or "nothing"
        raise NotAssertable(f"{artifact.path.name} takes {told}; give inputs= of shape (N, C, H, W)")
    first, middle, last = (int(size) for size in sizes)
    return (last, first, middle) if last in COLOURS and first not in COLOURS else (first, middle, last)


def _preprocessing(
    model: nn.Module,
    artifact: Artifact,
    shape: tuple[int, ...],
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> Preprocessing:
    """How the model's pictures are made: as given, as timm left it, or ImageNet's where the file does not care."""
    if (mean is None) != (std is None):
        raise NotAssertable("mean= and std= go together; give both")
    known = getattr(model, "pretrained_cfg", None)
    if mean is None or std is None:
        known = known if isinstance(known, Mapping) else {}
        mean, std = known.get("mean"), known.get("std")
    if mean is None or std is None:
        if any(given.kind == "image" for given in artifact.inputs):
            raise NotAssertable(f"{artifact.path.name} takes pictures of 0..255; say how the model's are: mean=, std=")
        mean, std = IMAGENET_MEAN, IMAGENET_STD
    _, height, width = shape
    return Preprocessing(size=height, resize=height, mean=tuple(mean), std=tuple(std), width=width)


def _on_cpu(model: nn.Module) -> nn.Module:
    """The module itself if it is float32 on the CPU, else a copy that is."""
    tensors = [*model.parameters(), *model.buffers()]
    if all(t.device.type == "cpu" and (t.dtype == torch.float32 or not t.is_floating_point()) for t in tensors):
        return model
    return copy.deepcopy(model).cpu().float()


def _stored(inputs: Tensor | NDArray) -> Stored:
    values = inputs.detach().cpu().float().numpy() if isinstance(inputs, Tensor) else np.asarray(inputs)
    return Stored(Path("inputs="), {"image": values})
