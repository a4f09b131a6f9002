"""How far a statistic of one report can be trusted: the interval that its own repetitions span.

Two sources of scatter are united. Between iterations: each iteration's median over the overall median, min to max,
scales the statistic; public reports show iterations 23 % apart. Within the series: the 95 % percentile bootstrap
interval over the raw samples (Efron 1979), seeded, so that a gate gives the same verdict twice. A statistic without
samples has no interval.
"""

from __future__ import annotations

from ..interval import Interval
from .stage import Stage, iteration_medians, statistic

RESAMPLES = 1000
SEED = 20260101
_PERCENTILES = {"p5": 5.0, "median": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p999": 99.9}


def interval(stage: Stage, name: str) -> Interval | None:
    """The span of a statistic of the stage; None when the file keeps no samples, or only one."""
    value = statistic(stage, name)
    if value is None or len(stage.samples) < 2:
        return None
    between, within = _between_iterations(stage, value), _bootstrap(stage.samples, name)
    known = [span for span in (between, within) if span]
    if not known:
        return None
    return Interval(min(value, *(span.low for span in known)), max(value, *(span.high for span in known)))


def _between_iterations(stage: Stage, value: float) -> Interval | None:
    medians, overall = iteration_medians(stage), statistic(stage, "median")
    if len(medians) < 2 or not overall:
        return None
    return Interval(value * min(medians) / overall, value * max(medians) / overall)


def _bootstrap(samples: tuple[float, ...], name: str) -> Interval | None:
    """None for statistics of a single sample (first, min, max), which resampling says nothing about."""
    import numpy as np

    if name not in _PERCENTILES and name != "mean":
        return None
    drawn = np.random.default_rng(SEED).choice(np.asarray(samples), size=(RESAMPLES, min(len(samples), 2000)))
    values = drawn.mean(axis=1) if name == "mean" else np.percentile(drawn, _PERCENTILES[name], axis=1)
    low, high = np.percentile(values, [2.5, 97.5]).tolist()
    return Interval(low, high)
