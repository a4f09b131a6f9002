"""The figures of a series of samples, against series whose figures are known."""

import json
from dataclasses import asdict

import pytest
from fuseport.validate.interval import Interval
from fuseport.validate.latency import Conditions, Latency, latency_of, percentile

CONDITIONS = Conditions(threads=2, batch=1, device="CPU: test", timed="one forward")


def latency(*samples: float) -> Latency:
    """The figures of a runner that took these milliseconds."""
    interval = Interval(min(samples), max(samples))
    return latency_of(samples, CONDITIONS, warmup=0, first_ms=None, interval=interval, confidence=0.95, settled=False)


def test_percentiles_are_samples_of_nearest_rank():
    samples = tuple(float(i) for i in range(10, 0, -1))
    assert percentile(samples, 0.9) == 9
    assert percentile(samples, 0.91) == 10
    assert percentile(samples, 0.0) == 1
    assert percentile((5.0,), 0.9) == 5


def test_figures_of_a_latency():
    found = latency(*(float(i) for i in range(1, 21)))
    assert (found.median_ms, found.p90_ms, found.min_ms, found.samples) == (10.5, 18.0, 1.0, 20)
    assert found.spread == pytest.approx((15 - 5) / 10.5)
    assert latency(0.0, 0.0).spread == 0


def test_the_tail_is_told_sample_by_sample():
    found = latency(*(float(i) for i in range(1, 201)))
    assert (found.p90_ms, found.p95_ms, found.p99_ms) == (180.0, 190.0, 198.0)


def test_one_outlier_moves_neither_the_median_nor_the_spread():
    steady = latency(*[2.0] * 19, 500.0)
    assert (steady.median_ms, steady.spread) == (2.0, 0.0)
    assert "unsteady" not in steady.describe()


def test_a_restless_machine_is_called_so():
    assert "unsteady: half of the samples spread over 67%" in latency(*[1.0, 1.0, 2.0, 3.0] * 5).describe()


def test_the_numbers_carry_their_conditions():
    found = latency(1.0, 2.0, 3.0)
    assert found.describe() == (
        "median 2.00 ms (95% interval 1.00 to 3.00), p90 3.00 ms (3 samples after 0 warm-up, batch 1, "
        "2 threads, CPU: test, unsteady: half of the samples spread over 100%)"
    )
    report = json.loads(json.dumps(asdict(found)))
    assert (report["timed"], report["threads"], report["samples_ms"]) == ("one forward", 2, [1.0, 2.0, 3.0])
