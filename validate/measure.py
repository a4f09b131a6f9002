"""Time runners side by side until their medians are known well enough, or the time is up.

Runners that are compared are run interleaved, one call each per round and in another order every round, so that a
machine that slows down (heat, a neighbour) slows all of them alike, and none always runs on the caches that another one
left. The garbage collector is off while the clock runs, and nothing but the call itself lies between its two readings.

Rounds go on until the interval of every runner's median is within a bound. The interval is looked at after 20, 30, 45 …
rounds: seldom, so that looking costs little and chance has few occasions to end a run early.

The clock and the seed of the order are arguments, so a test can hold them still.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from random import Random
from statistics import median

from .collector import collector_paused
from .interval import median_interval
from .latency import Conditions, Latency, latency_of
from .machine import processor

Call = Callable[[], object]
Clock = Callable[[], int]

GROWTH = 1.5
"""How many times more samples there are at the next look at the intervals."""


@dataclass(frozen=True)
class Plan:
    """How long to measure: until every median's interval is within `bound` of it, but `max_seconds` at the most.

    `min_samples` are taken in any case. `bound` 0 never stops before the time is up.
    """

    bound: float = 0.02
    confidence: float = 0.95
    warmup: int = 3
    min_samples: int = 20
    max_seconds: float = 10.0
    seed: int = 0


def measure(
    runners: Mapping[str, Call],
    *,
    threads: int,
    batch: int,
    device: str | None = None,
    timed: str = "one call, input and output in memory",
    plan: Plan | None = None,
    clock: Clock = time.perf_counter_ns,
) -> dict[str, Latency]:
    """The latency of each runner, by name. `clock` returns nanoseconds.

    `threads`, `batch`, `device` (None: this machine's processor) and `timed` are what the caller has arranged; they are
    written down, not set. An error of a runner is raised as it is. Raises ValueError for a plan that measures nothing.
    """
    plan = plan or Plan()
    _check(runners, plan)
    firsts = {name: _warm_up(call, plan.warmup, clock) for name, call in runners.items()}
    taken = _rounds(runners, plan, clock)
    conditions = Conditions(threads, batch, device or processor(), timed)
    return {name: _latency(taken[name], firsts[name], conditions, plan) for name in runners}


def timed_once(call: Callable[[], object], clock: Clock = time.perf_counter_ns) -> tuple[object, float]:
    """The result of a call that is made but once, such as loading a model, and its milliseconds."""
    start = clock()
    result = call()
    return result, (clock() - start) / 1e6


def timer_cost_ns(clock: Clock = time.perf_counter_ns, readings: int = 1000) -> float:
    """What the two readings of the clock around a call add to each sample, in nanoseconds."""
    return median(-(clock() - clock()) for _ in range(readings))


def _warm_up(call: Call, calls: int, clock: Clock) -> float | None:
    """Make the untimed calls; the time of the very first one."""
    first = _time(call, clock) if calls else None
    for _ in range(calls - 1):
        call()
    return first


def _rounds(runners: Mapping[str, Call], plan: Plan, clock: Clock) -> dict[str, list[float]]:
    """Milliseconds by runner, in the order of the rounds."""
    order, random = list(runners), Random(plan.seed)
    taken: dict[str, list[float]] = {name: [] for name in runners}
    rounds, look, deadline = 0, plan.min_samples, clock() + int(plan.max_seconds * 1e9)
    gc.collect()
    with collector_paused():  # garbage of the calls is freed by reference counts
        while rounds < plan.min_samples or clock() < deadline:
            if rounds == look:
                if all(_settled(samples, plan) for samples in taken.values()):
                    break
                look = max(look + 1, int(look * GROWTH))
            random.shuffle(order)
            for name in order:
                taken[name].append(_time(runners[name], clock))
            rounds += 1
    return taken


def _settled(samples: list[float], plan: Plan) -> bool:
    if plan.bound <= 0:
        return False
    interval = median_interval(samples, confidence=plan.confidence, seed=plan.seed)
    return interval.half_width(median(samples)) <= plan.bound


def _latency(samples: list[float], first: float | None, conditions: Conditions, plan: Plan) -> Latency:
    interval = median_interval(samples, confidence=plan.confidence, seed=plan.seed)
    return latency_of(
        samples,
        conditions,
        warmup=plan.warmup,
        first_ms=first,
        interval=interval,
        confidence=plan.confidence,
        settled=interval.half_width(median(samples)) <= plan.bound,
    )


def _time(call: Call, clock: Clock) -> float:
    """Milliseconds of one call; its result is dropped after the clock was read."""
    start = clock()
    result = call()
    elapsed = clock() - start
    del result
    return elapsed / 1e6


def _check(runners: Mapping[str, Call], plan: Plan) -> None:
    if not runners:
        raise ValueError("nothing to measure: no runner was given")
    if plan.warmup < 0 or plan.min_samples < 1 or not 0 <= plan.max_seconds < inf:
        raise ValueError(
            f"expected warmup of 0 or more, min_samples of 1 or more and finite max_seconds of 0 or more; "
            f"got {plan.warmup}, {plan.min_samples} and {plan.max_seconds}"
        )
    if not 0 < plan.confidence < 1 or not 0 <= plan.bound < inf:
        raise ValueError(
            f"expected a confidence between 0 and 1 and a bound of 0 or more, got {plan.confidence} and {plan.bound}"
        )
