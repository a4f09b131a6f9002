"""A confidence interval of a median, by resampling: where the figure may lie if the same run were done again.

Samples of one run depend on their neighbours in time (heat, other programs), and drawing them one by one would make a
drifting machine look sure of itself. So whole stretches of the series are drawn, the circular block bootstrap (Politis
and Romano, "A circular block-resampling procedure for stationary data", 1992), each about n^(1/3) samples long; the
interval lies between percentiles of the medians of the drawn series. The draws are seeded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 1000
_AT_ONCE = 2_000_000
"""Drawn samples that are held in memory together."""


class Interval(NamedTuple):
    """Lower and upper bound, in the unit of the samples."""

    low: float
    high: float

    def half_width(self, middle: float) -> float:
        """How far the farther bound is from `middle`, relative to it: 0.02 is "within 2 %". Infinite for middle 0."""
        return max(self.high - middle, middle - self.low) / middle if middle > 0 else float("inf")


def median_interval(samples: Sequence[float], *, confidence: float = 0.95, seed: int = 0) -> Interval:
    """The interval of the median of a series in the order in which it was taken.

    Raises ValueError for an empty series, or a confidence that is not between 0 and 1.
    """
    import numpy as np

    if not samples or not 0 < confidence < 1:
        raise ValueError(f"expected samples and a confidence between 0 and 1, got {len(samples)} and {confidence}")
    series, random = np.asarray(samples, dtype=np.float64), np.random.default_rng(seed)
    at_once = max(1, _AT_ONCE // len(series))
    medians = [_medians(series, min(at_once, RESAMPLES - done), random) for done in range(0, RESAMPLES, at_once)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(medians), [tail, 1 - tail]).tolist()
    return Interval(low, high)


def _medians(series: np.ndarray, draws: int, random: np.random.Generator) -> np.ndarray:
    """The medians of `draws` series as long as this one, put together from blocks of it (the end meets the start)."""
    import numpy as np

    length = len(series)
    block = max(1, round(length ** (1 / 3)))
    starts = random.integers(0, length, size=(draws, -(-length // block), 1))
    places = (starts + np.arange(block)) % length
    return np.median(series[places.reshape(draws, -1)[:, :length]], axis=1)
