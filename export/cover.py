"""How much of the model the checks can see: which weights could be wrong without any verdict noticing."""

from __future__ import annotations

from ..validate.vacuity import Coverage, coverage
from .artifact import NotRun
from .report import Result
from .sensitivity import sensitivity
from .subject import Subject, model_input


def cover(subject: Subject, results: tuple[Result, ...]) -> Coverage | NotRun:
    """The tensors whose corruption would move an output beyond the loosest bound that a file was held to.

    One picture is enough: a tensor that it shows is shown.
    """
    bounds = [bound for result in results for bound in _bounds(result)]
    if not bounds:
        return NotRun("no file was compared, so there is nothing that a comparison could have seen")
    found = sensitivity(subject.loaded.module, model_input(subject)[:1], bound=max(bounds))
    return coverage(found.trainable, max(bounds), statistics=found.statistics, confirmed=found.confirmed)


def _bounds(result: Result) -> list[float]:
    if isinstance(result.parity, NotRun):
        return []
    return [output.bound for output in result.parity.outputs if output.bound is not None]
