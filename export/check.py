"""Prove one saved file: run it, and hold its answers against the model's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from ..reparam import Folded
from ..validate.parity import Parity, compare, predict
from ..validate.verdict import Tolerance
from .artifact import Artifact, NotRun
from .job import Checks
from .rounded import rounded_answers
from .subject import Subject, Values, network_input, truth

Runner = Callable[[Values], Values]


@dataclass(frozen=True)
class Yardstick:
    """What artifacts are held against: the unfolded model in float64 and in float32, and float16's own cost."""

    truth: Values
    reference: Values
    costs: dict[str, Values]
    """Precision → the answers of the folded model rounded to it; none for float32, whose cost is the floor."""


def yardstick(subject: Subject, folded: Folded, precisions: set[str]) -> Yardstick:
    """Run the model in the ways that the artifacts' precisions call for."""
    costs = {}
    if "float16" in precisions:
        rounded = rounded_answers(folded.module, network_input(subject))
        costs["float16"] = dict(zip(subject.output_names, rounded, strict=True))
    return Yardstick(truth(subject), subject.reference, costs)


def check(artifact: Artifact, form: ModuleType, subject: Subject, ours: Yardstick, checks: Checks) -> Parity | NotRun:
    """Open the saved file with its format's runner and compare; NotRun where nothing here can run it."""
    runner = form.runner(artifact)
    if isinstance(runner, NotRun):
        return runner
    given = predict(runner, laid_out(artifact, subject.feed), batch=_fixed_batch(artifact))
    return compare(
        ours.truth,
        ours.reference,
        {name: values for name, values in given.items() if name not in _added(artifact)},
        precision=artifact.precision,
        precision_cost=ours.costs.get(artifact.precision),
        tolerance=tolerance(checks),
        inputs=subject.inputs,
    )


def tolerance(checks: Checks) -> Tolerance | None:
    """The user's own bound, or None for the measured one."""
    if checks.atol is None and checks.rtol is None:
        return None
    return Tolerance(atol=checks.atol or 0.0, rtol=checks.rtol or 0.0)


def laid_out(artifact: Artifact, feed: Values) -> Values:
    """Pictures are kept (N, H, W, 3); an artifact that takes (N, 3, H, W) gets them so."""
    turned = {given.name for given in artifact.inputs if given.kind == "image" and given.shape[1] == 3}
    return {name: np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if name in turned else x for name, x in feed.items()}


def _fixed_batch(artifact: Artifact) -> int | None:
    size = artifact.inputs[0].shape[0]
    return size if isinstance(size, int) else None


def _added(artifact: Artifact) -> set[str]:
    """Outputs that the format adds to the model's: a class label and its probabilities."""
    return {output.name for output in artifact.outputs if output.kind in ("label", "probabilities")}
