"""A stage of a measurement (compile, load, predict): its samples, and the statistics that people quote.

Percentiles are linear between the order statistics, the standard deviation is that of the population: what Xcode's
menu and numpy give by default. A statistic that the file states without its samples is passed on as stated; one that
it does not state is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

STATISTICS = ("median", "mean", "min", "max", "stdev", "p5", "p90", "p95", "p99", "p999", "first")
_PERCENTILES = {"p5": 5.0, "median": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p999": 99.9}


@dataclass(frozen=True)
class Stage:
    """Durations in seconds, in the order in which they were taken.

    `per_iteration` is set when the samples are whole iterations of that many; sample i then belongs to iteration
    i // per_iteration. `stated` holds the statistics of a file that keeps no samples, `count` how many it had.
    """

    samples: tuple[float, ...] = ()
    per_iteration: int | None = None
    stated: Mapping[str, float] = field(default_factory=dict)
    count: int | None = None

    @property
    def n(self) -> int:
        return len(self.samples) or self.count or 0


def statistic(stage: Stage, name: str) -> float | None:
    """One statistic of `STATISTICS`, in seconds; None when the file does not give it."""
    if not stage.samples:
        return stage.stated.get(name)
    return statistics_of(stage.samples, (name,))[name]


def statistics(stage: Stage) -> dict[str, float]:
    """Every known statistic of the stage, in seconds."""
    if not stage.samples:
        return {name: stage.stated[name] for name in STATISTICS if name in stage.stated}
    return statistics_of(stage.samples, STATISTICS)


def statistics_of(samples: tuple[float, ...], names: tuple[str, ...]) -> dict[str, float]:
    """The named statistics of a non-empty series."""
    import numpy as np

    array = np.asarray(samples, dtype=np.float64)
    ranks = [name for name in names if name in _PERCENTILES]
    values = dict(zip(ranks, np.percentile(array, [_PERCENTILES[r] for r in ranks]).tolist(), strict=True))
    simple = {"mean": array.mean, "min": array.min, "max": array.max, "stdev": array.std}
    values |= {name: float(take()) for name, take in simple.items() if name in names}
    if "first" in names:
        values["first"] = float(array[0])
    return {name: values[name] for name in names}


def iteration_medians(stage: Stage) -> tuple[float, ...]:
    """The median of each iteration, in seconds; empty when the samples are not whole iterations."""
    if not stage.per_iteration or not stage.samples:
        return ()
    import numpy as np

    return tuple(np.median(np.asarray(stage.samples).reshape(-1, stage.per_iteration), axis=1).tolist())


def spread(stage: Stage) -> float | None:
    """How far the iterations lie apart: slowest over fastest iteration median, minus one. None for one iteration."""
    medians = iteration_medians(stage)
    if len(medians) < 2 or min(medians) <= 0:
        return None
    return max(medians) / min(medians) - 1
