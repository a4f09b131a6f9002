"""How much of the model a check can see: which weights could be wrong without the verdict noticing."""

from __future__ import annotations

from ...validate.vacuity import Coverage, coverage
from ..artifact import NotRun
from ..mapped import Mapped
from ..subject import Subject, arguments, model_input
from .check import Check
from .sensitivity import sensitivity


def cover(subject: Subject, checks: tuple[Check, ...], memory: Mapped) -> Coverage | NotRun:
    """The tensors whose corruption would move an output of one file beyond what its sharpest check allowed.

    One picture is enough: a tensor that it shows is shown. `memory` is where the weights are.
    """
    bounds = [bound for check in checks for bound in _bounds(check)]
    if not bounds:
        return NotRun("no measured bound was applied, so nothing can be said of what the check would have seen")
    inputs = arguments(subject.loaded, [values[: subject.batch] for values in model_input(subject)])
    found = sensitivity(subject.loaded.module, *inputs, bound=min(bounds), memory=memory)
    return coverage(found.trainable, min(bounds), statistics=found.statistics, confirmed=found.confirmed)


def _bounds(check: Check) -> list[float]:
    if isinstance(check.parity, NotRun):
        return []
    return [output.bound for output in check.parity.outputs if output.bound is not None]
