import gc
import json
from dataclasses import asdict

import pytest
from fuseport.validate.latency import Latency, measure, percentile, processor

CONDITIONS = {"threads": 2, "batch": 1, "device": "CPU: test", "timed": "one forward"}


class FakeMachine:
    """A clock that only the runners move, each by its own milliseconds per call."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.calls: list[str] = []

    def clock(self) -> int:
        return self.now_ns

    def runner(self, name: str, *milliseconds: float):
        """A call that takes the given times in turn."""

        def call() -> str:
            times = milliseconds[self.calls.count(name) % len(milliseconds)]
            self.calls.append(name)
            self.now_ns += round(times * 1e6)
            return name

        return call


def measured(machine: FakeMachine, runners: dict, **options) -> dict[str, Latency]:
    return measure(runners, **CONDITIONS, clock=machine.clock, **options)


def latency(*samples: float) -> Latency:
    """The figures of a runner that takes these milliseconds in turn."""
    machine = FakeMachine()
    return measured(machine, {"a": machine.runner("a", *samples)}, warmup=0, min_samples=len(samples), max_seconds=0)[
        "a"
    ]


def test_each_runner_gets_its_own_time():
    machine = FakeMachine()
    found = measured(machine, {"fast": machine.runner("fast", 1), "slow": machine.runner("slow", 4)}, max_seconds=0)
    assert found["fast"].samples_ms == (1.0,) * 20
    assert found["slow"].samples_ms == (4.0,) * 20
    assert list(found) == ["fast", "slow"]


def test_warm_up_calls_are_not_timed():
    machine = FakeMachine()
    found = measured(machine, {"a": machine.runner("a", 90, 80, 1, 1, 1, 1)}, warmup=2, min_samples=4, max_seconds=0)
    assert found["a"].samples_ms == (1.0, 1.0, 1.0, 1.0)
    assert found["a"].warmup == 2


def test_rounds_interleave_the_runners_in_changing_order():
    machine = FakeMachine()
    runners = {name: machine.runner(name, 1) for name in "abc"}
    measured(machine, runners, warmup=0, min_samples=20, max_seconds=0)
    rounds = [tuple(machine.calls[i : i + 3]) for i in range(0, 60, 3)]
    assert all(sorted(order) == ["a", "b", "c"] for order in rounds)
    assert len(set(rounds)) > 3
    again = FakeMachine()
    measured(again, {name: again.runner(name, 1) for name in "abc"}, warmup=0, min_samples=20, max_seconds=0)
    assert again.calls == machine.calls, "the same seed gives the same order"


def test_a_drift_of_the_machine_hits_all_runners_alike():
    machine = FakeMachine()
    slowing = [1 + 0.1 * step for step in range(30)]
    runners = {"a": machine.runner("a", *slowing), "b": machine.runner("b", *slowing)}
    found = measured(machine, runners, warmup=0, min_samples=30, max_seconds=0)
    assert found["a"].median_ms == found["b"].median_ms


def test_it_goes_on_until_the_time_is_spent_and_the_samples_are_there():
    machine = FakeMachine()
    assert measured(machine, {"a": machine.runner("a", 10)}, warmup=0, max_seconds=1)["a"].samples == 100
    assert measured(machine, {"a": machine.runner("a", 1000)}, warmup=0, min_samples=5, max_seconds=1)["a"].samples == 5


def test_the_collector_is_off_while_the_clock_runs_and_on_again_after():
    states = []
    measure({"a": lambda: states.append(gc.isenabled())}, **CONDITIONS, warmup=1, min_samples=2, max_seconds=0)
    assert states == [True, False, False]
    assert gc.isenabled()


def test_a_runner_that_fails_raises_and_leaves_the_collector_on():
    machine = FakeMachine()

    def broken() -> None:
        if machine.calls:
            raise RuntimeError("out of memory")
        machine.calls.append("warm")

    with pytest.raises(RuntimeError, match="out of memory"):
        measured(machine, {"a": broken}, warmup=1)
    assert gc.isenabled()


def test_the_real_clock_sees_a_call_take_some_time():
    found = measure({"a": lambda: sum(range(1000))}, **CONDITIONS, min_samples=3, max_seconds=0)
    assert all(sample > 0 for sample in found["a"].samples_ms)


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


def test_one_outlier_moves_neither_the_median_nor_the_spread():
    steady = latency(*[2.0] * 19, 500.0)
    assert (steady.median_ms, steady.spread) == (2.0, 0.0)
    assert "unsteady" not in steady.describe()


def test_a_restless_machine_is_called_so():
    assert "unsteady: half of the samples spread over 67%" in latency(*[1.0, 1.0, 2.0, 3.0] * 5).describe()


def test_the_numbers_carry_their_conditions():
    found = latency(1.0, 2.0, 3.0)
    assert found.describe() == (
        "median 2.00 ms, p90 3.00 ms (3 samples after 0 warm-up, batch 1, 2 threads, CPU: test, "
        "unsteady: half of the samples spread over 100%)"
    )
    report = json.loads(json.dumps(asdict(found)))
    assert (report["timed"], report["threads"], report["samples_ms"]) == ("one forward", 2, [1.0, 2.0, 3.0])


def test_the_device_is_this_machine_unless_it_is_said():
    found = measure({"a": lambda: None}, threads=1, batch=1, min_samples=1, max_seconds=0)["a"]
    assert found.device == processor()
    assert len(processor()) > len("CPU: ")


@pytest.mark.parametrize(
    "options",
    [
        {"warmup": -1},
        {"min_samples": 0},
        {"max_seconds": -1.0},
        {"max_seconds": float("nan")},
        {"max_seconds": float("inf")},
    ],
)
def test_counts_that_measure_nothing_are_refused(options):
    with pytest.raises(ValueError, match="expected warmup of 0 or more"):
        measure({"a": lambda: None}, **CONDITIONS, **options)


def test_no_runner_is_refused():
    with pytest.raises(ValueError, match="no runner was given"):
        measure({}, **CONDITIONS)
