"""`fuseport.export.export_model`: the main job from Python, for a module that is there already."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from ..models.inputs import Given, given_as
from .job import Checks, Job, Source
from .pipeline import UsageError, export
from .report import ExportReport
from .request import Request


def export_model(
    module: nn.Module,
    example_inputs: Tensor | Sequence[Tensor] | Mapping[str, Tensor],
    *,
    formats: Sequence[str] = ("onnx", "coreml"),
    output_dir: Path | str = ".",
    name: str | None = None,
    input_name: str | None = None,
    output_names: Sequence[str] = (),
    image_input: str | None = None,
    labels: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    condition: bool = False,
    request: Request | None = None,
    checks: Checks | None = None,
    announce: Callable[[str], None] = lambda stage: None,
) -> ExportReport:
    """Convert `module` to each of `formats`, check the saved files against it, and report; the module stays as it is.

    `example_inputs` are what its forward takes, batch first: a tensor, several in their order, or by the names of
    forward's parameters. Their shapes and types count, and for whole numbers the range; the files are checked on seeded
    inputs of that kind, pictures normalised with `mean` and `std` (ImageNet's). `condition` replaces the weights, on a
    copy, by ones under which every branch counts, for a module that is not trained. The files are called `name` (the
    class), with `request` and `checks` for the rest.

    The report has the files under `results`, each with its checks, and in `outcome` "passed", "failed" or
    "not checked": a failed check is no exception. Raises ValueError (UsageError, CaptureError, NotConverted) with one
    line for what cannot be used, captured or converted.
    """
    checks = checks or Checks()
    source = Source(
        variant=name or type(module).__name__,
        module=module,
        inputs=_given(example_inputs),
        own_weights=not condition,
        mean=None if mean is None else tuple(mean),
        std=None if std is None else tuple(std),
        seed=checks.seed,
    )
    job = Job(
        source=source,
        formats=tuple(formats),
        request=request or Request(),
        checks=checks,
        image_input=image_input,
        labels=labels,
        output_dir=Path(output_dir),
        name=name,
        input_name=input_name,
        output_name=",".join(output_names) or None,
    )
    return export(job, announce=announce)


def _given(examples: Tensor | Sequence[Tensor] | Mapping[str, Tensor]) -> tuple[Given, ...]:
    if isinstance(examples, Tensor):
        examples = (examples,)
    if not isinstance(examples, (Mapping, Sequence)):
        raise UsageError(
            f"the example inputs are {type(examples).__name__}; expected a tensor, several, or a dict of them"
        )
    pairs = examples.items() if isinstance(examples, Mapping) else (("", example) for example in examples)
    try:
        return tuple(given_as(name, example) for name, example in pairs)
    except ValueError as error:
        raise UsageError(str(error)) from error
