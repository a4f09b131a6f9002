"""The roofline of a machine, and how far below it a model runs.

A machine computes at most `flops_per_s` (measured: the best of several large matrix products) and moves at most
`bytes_per_s` (measured: the best of several copies that are larger than the caches, reading and writing both counted).
A program that does F floating-point operations on B bytes of traffic takes at least
max(F / flops_per_s, B / bytes_per_s) (Williams, Waterman and Patterson, "Roofline: an insightful visual performance
model", 2009). A multiply-accumulate is two operations.

Traffic is what the caller counts. Weights that stay in the cache from call to call make a program beat a bound that
counts them as moved, so a `share` above 1 is possible and says so: the working set fits into the caches.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from .measure import Call, Clock, Plan, measure

Limit = Literal["compute", "memory"]


@dataclass(frozen=True)
class Roofline:
    """Best rates that were measured, and how."""

    flops_per_s: float
    bytes_per_s: float
    threads: int
    method: str

    @property
    def ridge(self) -> float:
        """The arithmetic intensity (FLOP per byte) from which on computing, not memory, is the limit."""
        return self.flops_per_s / self.bytes_per_s


@dataclass(frozen=True)
class Least:
    """The least time that a program can take on a machine, and what sets it."""

    bound_ms: float
    limit: Limit


@dataclass(frozen=True)
class Distance:
    """A program under the roofline: the least time that it can take, what limits it, and the part of it reached."""

    bound_ms: float
    limit: Limit
    flops_per_s: float
    """What the program reached."""
    share: float
    """The bound over the measured time: 1 is on the roofline, 0.1 ten times slower than the machine allows."""


def measure_roofline(
    multiply: Call,
    flops: float,
    copy: Call,
    moved: float,
    *,
    threads: int,
    method: str,
    seconds: float = 3.0,
    clock: Clock = time.perf_counter_ns,
) -> Roofline:
    """The roofline from a matrix product of `flops` operations and a copy that reads and writes `moved` bytes together.

    The fastest call counts: a bound is what the machine can do, not what it does on average.
    """
    plan = Plan(bound=0.0, warmup=2, min_samples=5, max_seconds=seconds)
    taken = measure({"multiply": multiply, "copy": copy}, threads=threads, batch=1, plan=plan, clock=clock)
    return Roofline(
        flops_per_s=flops / taken["multiply"].min_ms * 1e3,
        bytes_per_s=moved / taken["copy"].min_ms * 1e3,
        threads=threads,
        method=method,
    )


def least(roofline: Roofline, *, flops: float, moved: float) -> Least:
    """The least time of a program of `flops` operations and `moved` bytes of traffic."""
    compute_ms, memory_ms = flops / roofline.flops_per_s * 1e3, moved / roofline.bytes_per_s * 1e3
    return Least(max(compute_ms, memory_ms), "compute" if compute_ms >= memory_ms else "memory")


def distance(roofline: Roofline, *, flops: float, moved: float, milliseconds: float) -> Distance:
    """How far a program of `flops` operations and `moved` bytes of traffic, in `milliseconds`, is from the roofline.

    Raises ValueError where nothing is computed or moved, or the time is none.
    """
    if milliseconds <= 0 or flops < 0 or moved < 0 or flops + moved == 0:
        raise ValueError(
            "expected a time above 0 and something computed or moved; "
            f"got {milliseconds} ms, {flops} FLOP and {moved} bytes"
        )
    bound = least(roofline, flops=flops, moved=moved)
    return Distance(bound.bound_ms, bound.limit, flops / milliseconds * 1e3, bound.bound_ms / milliseconds)
