"""How long each runner takes, measured side by side: median, p90, and the conditions under which the numbers hold.

Runners that are compared are run interleaved, one call each per round and in another order every round, so that a
machine that slows down (heat, a neighbour) slows all of them alike, and none always runs on the caches that another one
left. The garbage collector is off while the clock runs, and nothing but the call itself lies between its two readings.

The clock and the seed of the order are arguments, so a test can hold them still. `spread` says when the machine was too
restless for a median to mean much.
"""

from __future__ import annotations

import gc
import platform
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil, inf
from pathlib import Path
from random import Random
from statistics import median

Call = Callable[[], object]

UNSTEADY = 0.25
"""A spread above this is called unsteady in words."""


@dataclass(frozen=True)
class Latency:
    """The time of one call of one runner, in milliseconds, and the conditions under which it was taken."""

    median_ms: float
    p90_ms: float
    """The smallest sample that at least nine tenths of the samples do not exceed."""
    min_ms: float
    spread: float
    """Interquartile range over the median: 0.02 is a quiet machine, above UNSTEADY the median means little."""
    samples: int
    warmup: int
    """Calls before the first sample, not timed."""
    threads: int
    batch: int
    device: str
    timed: str
    """What lies in the timed region."""
    samples_ms: tuple[float, ...]
    """Every sample, in the order in which they came."""

    def describe(self) -> str:
        """One line with the numbers and their conditions."""
        unsteady = f", unsteady: half of the samples spread over {self.spread:.0%}" if self.spread > UNSTEADY else ""
        threads = f"{self.threads} thread{'s' * (self.threads != 1)}"
        return (
            f"median {self.median_ms:.2f} ms, p90 {self.p90_ms:.2f} ms ({self.samples} samples after {self.warmup} "
            f"warm-up, batch {self.batch}, {threads}, {self.device}{unsteady})"
        )


def measure(
    runners: Mapping[str, Call],
    *,
    threads: int,
    batch: int,
    device: str | None = None,
    timed: str = "one call, input and output in memory",
    warmup: int = 3,
    min_samples: int = 20,
    max_seconds: float = 10.0,
    seed: int = 0,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> dict[str, Latency]:
    """The latency of each runner, by name. `clock` returns nanoseconds.

    `threads`, `batch`, `device` (None: this machine's processor) and `timed` are what the caller has arranged; they are
    written down, not set.
    After `warmup` untimed calls each, whole rounds of one call per runner are timed, until `max_seconds` are spent and
    every runner has `min_samples`; the latter wins. An error of a runner is raised as it is. Raises a ValueError for
    counts that measure nothing.
    """
    _check(runners, warmup, min_samples, max_seconds)
    for call in runners.values():
        for _ in range(warmup):
            call()
    order, random = list(runners), Random(seed)
    taken: dict[str, list[float]] = {name: [] for name in runners}
    deadline = clock() + int(max_seconds * 1e9)
    with _no_garbage_collection():
        while len(taken[order[0]]) < min_samples or clock() < deadline:
            random.shuffle(order)
            for name in order:
                taken[name].append(_time(runners[name], clock))
    conditions = (warmup, threads, batch, device or processor(), timed)
    return {name: Latency(*_figures(samples), *conditions, tuple(samples)) for name, samples in taken.items()}


def processor() -> str:
    """The name of this machine's processor, or its architecture where the system does not tell."""
    names = re.findall(r"^model name\s*:\s*(.+)$", _text(Path("/proc/cpuinfo")), re.MULTILINE)
    return f"CPU: {names[0] if names else platform.processor() or platform.machine()}"


def _figures(samples: list[float]) -> tuple[float, float, float, float, int]:
    """median_ms, p90_ms, min_ms, spread and samples of a Latency."""
    middle, quartiles = median(samples), (percentile(samples, 0.25), percentile(samples, 0.75))
    spread = (quartiles[1] - quartiles[0]) / middle if middle else 0.0
    return middle, percentile(samples, 0.9), min(samples), spread, len(samples)


def percentile(samples: Sequence[float], share: float) -> float:
    """The smallest of `samples` that at least `share` of them do not exceed (nearest rank, no interpolation)."""
    rank = ceil(share * len(samples) - 1e-9)  # 0.9 x 10 is nine, whatever the floats say
    return sorted(samples)[max(0, rank - 1)]


def _time(call: Call, clock: Callable[[], int]) -> float:
    """Milliseconds of one call; its result is dropped after the clock was read."""
    start = clock()
    result = call()
    elapsed = clock() - start
    del result
    return elapsed / 1e6


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Collect now, then not again until the end; garbage of the calls is freed by reference counts."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def _check(runners: Mapping[str, Call], warmup: int, min_samples: int, max_seconds: float) -> None:
    if not runners:
        raise ValueError("nothing to measure: no runner was given")
    if warmup < 0 or min_samples < 1 or not 0 <= max_seconds < inf:
        raise ValueError(
            f"expected warmup of 0 or more, min_samples of 1 or more and finite max_seconds of 0 or more; "
            f"got {warmup}, {min_samples} and {max_seconds}"
        )
