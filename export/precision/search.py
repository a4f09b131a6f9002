"""The smallest set of items that must be spared for a trial to pass, found with few trials.

A trial takes the items that are *narrow* (in float16) and gives an excess: the error in units of the bound, so that 1
passes, or infinity. Three steps, each of trials alone:

1. Rank. Alone narrow, an item that overflows gives an infinite excess, another one its share of the error. Not every
   item is tried: a run of neighbours that together do no harm is not looked into. Runs are split where the excess is
   largest, until every harmful one is a single item or the trials for this are spent.
2. Bisect. The items are spared in the order of their rank; the fewest with which the trial passes are kept.
3. Minimise (delta debugging; Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002). Groups
   of spared items are made narrow again, large groups first, wherever the trial still passes.

Of the set that is left no single item can be taken out. Sets of the same kind with fewer items may exist where errors
cancel; none was found against trying all sets of small networks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import sqrt

Excess = Callable[[frozenset[int]], float]
"""Narrow items → error in units of the bound."""

HARMLESS = 0.05
"""Excess of a run of items into which nobody looks."""


@dataclass(frozen=True)
class Found:
    """The items to spare, in order; the excess that is left; the trials that were run."""

    spared: tuple[int, ...]
    excess: float
    trials: int


@dataclass
class _Counted:
    """An `Excess` that runs each trial once and counts them."""

    run: Excess
    known: dict[frozenset[int], float] = field(default_factory=dict)

    def __call__(self, narrow: frozenset[int]) -> float:
        if narrow not in self.known:
            self.known[narrow] = self.run(narrow)
        return self.known[narrow]

    @property
    def trials(self) -> int:
        return len(self.known)


def smallest(count: int, excess: Excess, *, alone: Excess | None = None, ranking_trials: int = 256) -> Found | None:
    """The smallest set of `count` items (numbered in order of execution) to spare; None if sparing all does not pass.

    `alone` is a cheaper trial for the ranking; at most `ranking_trials` of these are run.
    """
    tried, first = _Counted(excess), _Counted(alone or excess)
    everything = frozenset(range(count))
    if tried(everything) <= 1:
        return Found((), tried(everything), tried.trials)
    if tried(frozenset()) > 1:
        return None
    order = _ranked(count, first, lambda spared: tried(everything - spared) <= 1, ranking_trials)
    fewest = _fewest(order, everything, tried)
    spared = _minimised(order[:fewest], everything, tried)
    return Found(tuple(sorted(spared)), tried(everything - set(spared)), tried.trials + first.trials)


def _ranked(count: int, alone: Excess, passes: Callable[[set[int]], bool], limit: int) -> list[int]:
    """All items, the most harmful first. A run of items is (its excess, first, last + 1).

    Runs above a level are split; where sparing the single items above it `passes`, that is enough, else the level is
    halved.
    """
    runs, level = [(alone(frozenset(range(count))), 0, count)], 1.0
    for _ in range(limit // 2):
        worst = max((run for run in runs if run[2] - run[1] > 1), default=(0.0, 0, 0))
        while worst[0] <= level and level > HARMLESS:
            if passes({run[1] for run in runs if run[2] - run[1] == 1 and run[0] > level}):
                return _by_share(runs)
            level /= 2
        if worst[0] <= HARMLESS:
            break
        runs.remove(worst)
        _, start, end = worst
        middle = (start + end) // 2
        runs += [(alone(frozenset(range(*half))), *half) for half in ((start, middle), (middle, end))]
    return _by_share(runs)


def _by_share(runs: Sequence[tuple[float, int, int]]) -> list[int]:
    share = {item: excess / sqrt(end - start) for excess, start, end in runs for item in range(start, end)}
    return sorted(share, key=lambda item: (-share[item], item))


def _fewest(order: Sequence[int], everything: frozenset[int], excess: Excess) -> int:
    """The shortest head of `order` whose sparing passes, as far as sparing more never harms."""
    low, high = 1, len(order)
    while low < high:
        middle = (low + high) // 2
        if excess(everything - set(order[:middle])) <= 1:
            high = middle
        else:
            low = middle + 1
    return low


def _minimised(spared: Sequence[int], everything: frozenset[int], excess: Excess) -> list[int]:
    """`spared` without all that can be narrow after all; the least harmful are given up first."""
    left, size = list(spared), max(len(spared) // 2, 1)
    while True:
        before = len(left)
        for end in range(len(left), 0, -size):
            rest = left[: max(end - size, 0)] + left[end:]
            if excess(everything - set(rest)) <= 1:
                left = rest
        if size > 1:
            size //= 2
        elif len(left) == before:
            return left
