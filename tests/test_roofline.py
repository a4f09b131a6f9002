"""The roofline's arithmetic in closed form, and that the best call counts."""

import pytest
from fuseport.validate.roofline import Roofline, distance, measure_roofline

MACHINE = Roofline(flops_per_s=100e9, bytes_per_s=20e9, threads=1, method="made up")


def test_below_the_ridge_memory_is_the_limit_and_above_it_computing():
    assert MACHINE.ridge == 5.0
    heavy = distance(MACHINE, flops=1e9, moved=0.1e9, milliseconds=40.0)
    assert (heavy.limit, heavy.bound_ms, heavy.share) == ("compute", 10.0, 0.25)
    assert heavy.flops_per_s == pytest.approx(25e9)
    light = distance(MACHINE, flops=0.1e9, moved=0.1e9, milliseconds=10.0)
    assert (light.limit, light.bound_ms, light.share) == ("memory", 5.0, 0.5)


@pytest.mark.parametrize("wrong", [{"milliseconds": 0.0}, {"flops": -1.0}, {"flops": 0.0, "moved": 0.0}])
def test_what_has_no_distance_is_refused(wrong):
    with pytest.raises(ValueError, match="expected a time above 0"):
        distance(MACHINE, **{"flops": 1.0, "moved": 1.0, "milliseconds": 1.0, **wrong})


def test_the_best_call_counts():
    now = [0]

    def taking(*milliseconds: int):
        left = iter(milliseconds)

        def call() -> None:
            now[0] += next(left) * 1_000_000

        return call

    found = measure_roofline(
        taking(1, 1, 20, 4, 20, 20, 20),  # the first two are warm-up
        8e6,
        taking(1, 1, 9, 9, 2, 9, 9),
        4e6,
        threads=3,
        method="naps",
        seconds=0.0,
        clock=lambda: now[0],
    )
    assert (found.flops_per_s, found.bytes_per_s) == (8e6 / 0.004, 4e6 / 0.002)
    assert (found.threads, found.method) == (3, "naps")
