"""The search for the fewest items to spare: against trying all sets, and on excesses of every kind."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from fuseport.export.precision.search import Excess, smallest


def quadratic(shares: list[float]) -> Excess:
    """Errors that add like independent noise."""
    return lambda narrow: math.sqrt(sum(shares[item] ** 2 for item in narrow))


def fewest(count: int, excess: Excess) -> int:
    """By trying all sets."""
    return next(
        size
        for size in range(count + 1)
        for spared in itertools.combinations(range(count), size)
        if excess(frozenset(range(count)) - set(spared)) <= 1
    )


@pytest.mark.parametrize("seed", range(20))
def test_no_set_is_smaller(seed: int) -> None:
    draw = random.Random(seed)
    shares = [draw.choice([0.0, 0.01, draw.random(), math.inf if draw.random() < 0.3 else 0.0]) for _ in range(11)]
    found = smallest(len(shares), quadratic(shares))
    assert found is not None
    assert len(found.spared) == fewest(len(shares), quadratic(shares))
    assert found.excess <= 1


def test_a_chain_that_overflows_is_spared_as_a_whole_with_few_trials() -> None:
    found = smallest(200, lambda narrow: math.inf if narrow & {40, 41, 42, 43, 170} else 0.3)
    assert found is not None
    assert found.spared == (40, 41, 42, 43, 170)
    assert found.trials < 60


def test_two_items_that_do_harm_together() -> None:
    found = smallest(200, lambda narrow: math.inf if {70, 171} <= narrow else 0.2)
    assert found is not None
    assert len(found.spared) == 1
    assert set(found.spared) < {70, 171}


def test_nothing_to_spare_and_nothing_that_helps() -> None:
    found = smallest(5, lambda narrow: 0.5)
    assert found is not None
    assert found.spared == ()
    assert found.trials == 1
    assert smallest(5, lambda narrow: 1.5) is None


def test_the_ranking_is_held_to_its_trials() -> None:
    """Noise spread evenly over many items: every run of them looks harmful."""
    ran = 0

    def alone(narrow: frozenset[int]) -> float:
        nonlocal ran
        ran += 1
        return 0.1 * math.sqrt(len(narrow))

    found = smallest(400, quadratic([0.1] * 400), alone=alone, ranking_trials=40)
    assert found is not None
    assert len(found.spared) in (300, 301)
    assert ran <= 41


def test_no_single_item_can_be_taken_out_again() -> None:
    draw = random.Random(3)
    shares = [draw.random() ** 3 for _ in range(60)]
    excess = quadratic(shares)
    found = smallest(60, excess, ranking_trials=10)
    assert found is not None
    narrow = frozenset(range(60)) - set(found.spared)
    assert excess(narrow) <= 1
    assert all(excess(narrow | {item}) > 1 for item in found.spared)
