"""A winner only where intervals are apart, and none on a restless machine."""

import pytest
from fuseport.validate.interval import Interval
from fuseport.validate.latency import Conditions, Latency, latency_of
from fuseport.validate.race import BASELINE, FASTER, SAME, SLOWER, UNRELIABLE, standings, verdict


def took(low: float, middle: float, high: float, *, restless: bool = False) -> Latency:
    samples = (0.5 * middle, middle, 2 * middle) if restless else (middle,) * 3
    return latency_of(
        samples,
        Conditions(threads=1, batch=1, device="test"),
        warmup=0,
        first_ms=None,
        interval=Interval(low, high),
        confidence=0.95,
        settled=True,
    )


def test_the_fastest_wins_if_its_interval_is_apart_from_all_others():
    found = verdict({"a": took(9, 10, 11), "b": took(4, 5, 6), "c": took(19, 20, 21)})
    assert (found.outcome, found.winner) == ("winner", "b")
    assert found.reason == "the 95% intervals of the medians are apart; 2.00 × as fast as a"


@pytest.mark.parametrize("touching", [(6, 7, 8), (5, 9, 10)])
def test_nobody_wins_where_intervals_meet(touching):
    found = verdict({"a": took(*touching), "b": took(4, 5, 6), "c": took(19, 20, 21)})
    assert (found.outcome, found.winner) == ("no winner", None)
    assert found.reason == "the 95% intervals of the medians of b and a overlap"


def test_nobody_wins_on_a_restless_machine_however_far_the_medians_are_apart():
    found = verdict({"a": took(1, 1, 1), "b": took(99, 100, 101, restless=True)})
    assert (found.outcome, found.winner) == ("unreliable", None)
    assert found.reason.startswith("half of the samples of b spread over 150% of its median, more than 25%")


def test_one_runner_is_no_comparison():
    assert verdict({"a": took(1, 1, 1)}).outcome == "nothing to compare"
    assert verdict({}).reason == "nothing ran"
    assert standings({}) == {}


def test_everyone_stands_beside_the_first():
    first = took(9, 10, 11)
    found = standings(
        {
            "first": first,
            "half": took(4, 5, 6),
            "double": took(19, 20, 21),
            "near": took(10.5, 11.5, 12),
            "wild": took(39, 40, 41, restless=True),
        }
    )
    assert {name: standing.versus for name, standing in found.items()} == {
        "first": BASELINE,
        "half": FASTER,
        "double": SLOWER,
        "near": SAME,
        "wild": UNRELIABLE,
    }
    assert [standing.ratio for standing in found.values()] == [1.0, 0.5, 2.0, 1.15, 4.0]


def test_beside_a_restless_first_nothing_is_shown():
    found = standings({"first": took(9, 10, 11, restless=True), "half": took(4, 5, 6)})
    assert found["half"].versus == UNRELIABLE
