"""What `fuseport profile` adds to the calls that it measures, against a call of one millisecond.

    python benchmarks/profile_overhead.py [--milliseconds 1] [--samples 1000] [--repeats 5]

*In the sample*: the time that a call which does nothing is said to take; it is part of every figure. Bound: 1 %.
*Between samples*: processor time of the rounds themselves, and of the looks at the intervals that end a run, per
sample; no figure contains them, they make the run longer. Each is the best of the repeats.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from fuseport.validate.interval import median_interval
from fuseport.validate.measure import GROWTH, Plan, measure

BOUND = 0.01


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--milliseconds", type=float, default=1.0)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    count, repeats = given.samples, given.repeats
    samples, inside = min((empty_run(count) for _ in range(repeats)), key=lambda run: run[1])
    interval = best(lambda: median_interval(samples), repeats)
    rounds = best(lambda: empty_run(count), repeats) - interval
    looks = best(lambda: [median_interval(samples[:size]) for size in sizes(count)], repeats) + interval
    for name, added, bound in (
        ("in the sample", inside, f" (bound {BOUND:.0%})"),
        ("between samples, rounds", rounds / count, ""),
        (f"between samples, intervals of {count} samples", looks / count, ""),
    ):
        print(f"{name}: {added * 1e3:.2f} µs, {added / given.milliseconds:.3%} of {given.milliseconds:g} ms{bound}")


def empty_run(samples: int) -> tuple[tuple[float, ...], float]:
    """The samples of a call that does nothing, and their median, in milliseconds."""
    plan = Plan(bound=0.0, min_samples=samples, max_seconds=0)
    taken = measure({"nothing": lambda: None}, threads=1, batch=1, plan=plan)["nothing"]
    return taken.samples_ms, taken.median_ms


def sizes(samples: int) -> list[int]:
    """How many samples there are at each look before these."""
    found = [Plan().min_samples]
    while found[-1] < samples:
        found.append(max(found[-1] + 1, int(found[-1] * GROWTH)))
    return found[:-1]


def best(work: Callable[[], object], repeats: int) -> float:
    """Processor time of the work, in milliseconds."""
    spent = []
    for _ in range(repeats):
        start = time.thread_time()
        work()
        spent.append((time.thread_time() - start) * 1e3)
    return min(spent)


if __name__ == "__main__":
    main()
