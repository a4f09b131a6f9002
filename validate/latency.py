"""How long one call takes: the figures of a series of samples, and the conditions under which they hold.

Percentiles are samples themselves (nearest rank): with fewer than a hundred of them, p99 is the slowest one. The median
comes with the interval in which another run of the same kind would find it (`interval.py`); `spread` says when the
machine was too restless for a median to mean much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median

from .interval import Interval

UNSTEADY = 0.25
"""A spread above this is called unsteady in words, and no winner is declared."""


@dataclass(frozen=True)
class Latency:
    """The time of one call of one runner, in milliseconds, and the conditions under which it was taken."""

    median_ms: float
    p90_ms: float
    """The smallest sample that at least nine tenths of the samples do not exceed; p95_ms and p99_ms likewise."""
    min_ms: float
    spread: float
    """Interquartile range over the median: 0.02 is a quiet machine, above UNSTEADY the median means little."""
    samples: int
    """Samples that the figures stand on; the calls before the first one, `warmup`, were discarded."""
    warmup: int
    """Calls before the first sample, which no figure but `first_ms` contains."""
    threads: int
    batch: int
    device: str
    timed: str
    """What lies in the timed region."""
    samples_ms: tuple[float, ...]
    """Every sample, in the order in which they came."""
    p95_ms: float
    p99_ms: float
    low_ms: float
    """Lower end of the interval of the median, at `confidence`."""
    high_ms: float
    confidence: float
    settled: bool
    """Whether the interval came within the bound that was asked for before time ran out."""
    first_ms: float | None
    """The very first call, which pays for what is prepared late; None where there was no call before the samples."""

    @property
    def interval(self) -> Interval:
        return Interval(self.low_ms, self.high_ms)

    @property
    def unsteady(self) -> bool:
        return self.spread > UNSTEADY

    def describe(self) -> str:
        """One line with the numbers and their conditions."""
        unsteady = f", unsteady: half of the samples spread over {self.spread:.0%}" if self.unsteady else ""
        threads = f"{self.threads} thread{'s' * (self.threads != 1)}"
        return (
            f"median {self.median_ms:.2f} ms ({self.confidence:.0%} interval {self.low_ms:.2f} to {self.high_ms:.2f}), "
            f"p90 {self.p90_ms:.2f} ms ({self.samples} samples after {self.warmup} warm-up, batch {self.batch}, "
            f"{threads}, {self.device}{unsteady})"
        )


@dataclass(frozen=True)
class Conditions:
    """What the caller has arranged for every runner alike; it is written down here, not set."""

    threads: int
    batch: int
    device: str
    timed: str = "one call, input and output in memory"


def latency_of(
    samples_ms: Sequence[float],
    conditions: Conditions,
    *,
    warmup: int,
    first_ms: float | None,
    interval: Interval,
    confidence: float,
    settled: bool,
) -> Latency:
    """The figures of a series that is not empty."""
    middle = median(samples_ms)
    quartiles = percentile(samples_ms, 0.25), percentile(samples_ms, 0.75)
    return Latency(
        median_ms=middle,
        p90_ms=percentile(samples_ms, 0.9),
        min_ms=min(samples_ms),
        spread=(quartiles[1] - quartiles[0]) / middle if middle else 0.0,
        samples=len(samples_ms),
        warmup=warmup,
        threads=conditions.threads,
        batch=conditions.batch,
        device=conditions.device,
        timed=conditions.timed,
        samples_ms=tuple(samples_ms),
        p95_ms=percentile(samples_ms, 0.95),
        p99_ms=percentile(samples_ms, 0.99),
        low_ms=interval.low,
        high_ms=interval.high,
        confidence=confidence,
        settled=settled,
        first_ms=first_ms,
    )


def percentile(samples: Sequence[float], share: float) -> float:
    """The smallest of `samples` that at least `share` of them do not exceed (nearest rank, no interpolation)."""
    rank = ceil(share * len(samples) - 1e-9)  # 0.9 x 10 is nine, whatever the floats say
    return sorted(samples)[max(0, rank - 1)]
