"""The interval of a median: where it must lie, how often it must hold, and that it sees a drift."""

import numpy as np
import pytest
from fuseport.validate.interval import Interval, median_interval


def test_a_series_without_scatter_has_an_interval_without_width():
    assert median_interval([3.0] * 25) == Interval(3.0, 3.0)
    assert median_interval([3.0]) == Interval(3.0, 3.0)
    assert Interval(3.0, 3.0).half_width(3.0) == 0


def test_the_same_seed_gives_the_same_interval():
    samples = np.random.default_rng(1).lognormal(size=60).tolist()
    assert median_interval(samples, seed=4) == median_interval(samples, seed=4)
    assert len({median_interval(samples, seed=seed) for seed in range(20)}) > 1


def test_the_interval_holds_the_true_median_about_as_often_as_it_says():
    random = np.random.default_rng(7)
    held = [
        low <= 1.0 <= high
        for low, high in (median_interval(random.lognormal(size=40).tolist(), confidence=0.9) for _ in range(120))
    ]
    assert 0.8 <= np.mean(held) <= 0.97


def test_more_samples_make_it_narrower_and_more_confidence_wider():
    samples = np.random.default_rng(2).normal(10, 1, size=800).tolist()
    few, many = median_interval(samples[:50]), median_interval(samples)
    assert many.high - many.low < 0.6 * (few.high - few.low)
    sure = median_interval(samples, confidence=0.999)
    assert sure.low < many.low <= many.high < sure.high


def test_neighbours_that_go_together_make_it_wider():
    """The same values in random order, and in stretches of a machine that speeds up and slows down."""
    shuffled = np.random.default_rng(3).normal(10, 1, size=200)
    together = np.concatenate([np.sort(shuffled), np.sort(shuffled)[::-1]])
    apart = np.random.default_rng(4).permutation(together)
    wide, narrow = median_interval(together.tolist()), median_interval(apart.tolist())
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_the_half_width_is_that_of_the_farther_bound():
    assert Interval(9.0, 12.0).half_width(10.0) == pytest.approx(0.2)
    assert Interval(0.0, 0.0).half_width(0.0) == float("inf")


def test_long_series_are_drawn_piece_by_piece():
    samples = np.random.default_rng(5).normal(10, 1, size=10_000).tolist()
    low, high = median_interval(samples)
    assert 9.9 < low < high < 10.1


@pytest.mark.parametrize(("samples", "confidence"), [([], 0.95), ([1.0], 0.0), ([1.0], 1.0)])
def test_what_has_no_interval_is_refused(samples, confidence):
    with pytest.raises(ValueError, match="expected samples and a confidence between 0 and 1"):
        median_interval(samples, confidence=confidence)
