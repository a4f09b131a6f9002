"""How much of the model a check can see: which weights could be wrong without the verdict noticing."""

from __future__ import annotations

from collections.abc import Callable

from ...validate.vacuity import Coverage, coverage
from ..artifact import NotRun
from ..mapped import Mapped
from ..subject import Subject, arguments, model_input
from .check import Check
from .sensitivity import Estimates, confirm, estimate


def estimated(subject: Subject, memory: Mapped) -> Estimates:
    """How far the corruption of each tensor moves the outputs, for all files. One sample shows what it shows.

    `memory` is where the weights are.
    """
    inputs, named = arguments(subject.loaded, [values[: subject.batch] for values in model_input(subject)])
    return estimate(subject.loaded.module, inputs, named, memory=memory)


def cover(checks: tuple[Check, ...], estimates: Callable[[], Estimates]) -> Coverage | NotRun:
    """The tensors whose corruption would move an output of one file beyond what its sharpest check allowed.

    `estimates` is asked only where a bound was applied.
    """
    bounds = [bound for check in checks for bound in _bounds(check)]
    if not bounds:
        return NotRun("no measured bound was applied, so nothing can be said of what the check would have seen")
    found = confirm(estimates(), min(bounds))
    return coverage(found.trainable, min(bounds), statistics=found.statistics, confirmed=found.confirmed)


def _bounds(check: Check) -> list[float]:
    if isinstance(check.parity, NotRun):
        return []
    return [output.bound for output in check.parity.outputs if output.bound is not None]
