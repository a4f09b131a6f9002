"""Interleaved timing with a clock that only the runners move."""

import gc
from itertools import count

import pytest
from fuseport.validate.latency import Latency
from fuseport.validate.machine import processor
from fuseport.validate.measure import Plan, measure, timed_once, timer_cost_ns

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


def measured(machine: FakeMachine, runners: dict, **plan) -> dict[str, Latency]:
    """Without a bound unless one is given, so that the numbers of samples are those of the plan."""
    return measure(runners, **CONDITIONS, plan=Plan(**{"bound": 0.0, **plan}), clock=machine.clock)


def test_each_runner_gets_its_own_time():
    machine = FakeMachine()
    found = measured(machine, {"fast": machine.runner("fast", 1), "slow": machine.runner("slow", 4)}, max_seconds=0)
    assert found["fast"].samples_ms == (1.0,) * 20
    assert found["slow"].samples_ms == (4.0,) * 20
    assert list(found) == ["fast", "slow"]


def test_warm_up_calls_are_not_samples_and_the_first_is_told():
    machine = FakeMachine()
    found = measured(machine, {"a": machine.runner("a", 90, 80, 1, 1, 1, 1)}, warmup=2, min_samples=4, max_seconds=0)
    assert found["a"].samples_ms == (1.0, 1.0, 1.0, 1.0)
    assert (found["a"].samples, found["a"].warmup, found["a"].first_ms) == (4, 2, 90.0)
    cold = FakeMachine()
    assert measured(cold, {"a": cold.runner("a", 1)}, warmup=0, max_seconds=0)["a"].first_ms is None


def test_it_stops_when_the_intervals_are_within_the_bound():
    machine = FakeMachine()
    steady = machine.runner("a", 1.0, 1.01, 0.99)
    found = measured(machine, {"a": steady}, warmup=0, bound=0.02, max_seconds=60)["a"]
    assert (found.samples, found.settled) == (20, True)
    assert 0.99 <= found.low_ms <= found.median_ms <= found.high_ms <= 1.01


def test_one_restless_runner_keeps_all_of_them_going_until_the_time_is_up():
    machine = FakeMachine()
    restless = machine.runner("b", *[1.0, 3.0, 2.0, 9.0] * 7, 5.0, 1.5, 4.0)
    found = measured(machine, {"a": machine.runner("a", 1.0), "b": restless}, warmup=0, bound=0.001, max_seconds=1.0)
    assert found["a"].samples == found["b"].samples > 100
    assert (found["a"].settled, found["b"].settled) == (True, False)


def test_the_intervals_are_looked_at_seldom():
    """A bound that the samples reach after 21 rounds is seen at the next look, after 30."""
    machine = FakeMachine()
    settling = machine.runner("a", *[1.0, 2.0] * 10, *[1.5] * 200)
    found = measured(machine, {"a": settling}, warmup=0, bound=0.05, max_seconds=60)["a"]
    assert found.samples in (30, 45, 67)


def test_a_sample_has_one_pair_of_readings_and_no_more():
    """With a clock that costs 100 ns per reading, a call of 1 ms is measured 0.01 % long."""
    ticks = count(step=100)
    machine = FakeMachine()

    def clock() -> int:
        return machine.now_ns + next(ticks)

    found = measure({"a": machine.runner("a", 1.0)}, **CONDITIONS, plan=Plan(max_seconds=0), clock=clock)["a"]
    assert found.median_ms == 1.0001
    assert timer_cost_ns(clock) == 100


def test_the_real_timer_costs_less_than_a_hundredth_of_a_millisecond():
    assert 0 <= timer_cost_ns() < 10_000


def test_a_single_call_is_timed_with_its_result():
    machine = FakeMachine()
    assert timed_once(machine.runner("load", 250), machine.clock) == ("load", 250.0)


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
    plan = Plan(warmup=1, min_samples=2, max_seconds=0)
    measure({"a": lambda: states.append(gc.isenabled())}, **CONDITIONS, plan=plan)
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
    found = measure({"a": lambda: sum(range(1000))}, **CONDITIONS, plan=Plan(min_samples=3, max_seconds=0))
    assert all(sample > 0 for sample in found["a"].samples_ms)


def test_the_device_is_this_machine_unless_it_is_said():
    found = measure({"a": lambda: None}, threads=1, batch=1, plan=Plan(min_samples=1, max_seconds=0))["a"]
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
        {"confidence": 1.0},
        {"bound": -0.1},
    ],
)
def test_counts_that_measure_nothing_are_refused(options):
    with pytest.raises(ValueError, match=r"expected (warmup of 0|a confidence)"):
        measure({"a": lambda: None}, **CONDITIONS, plan=Plan(**options))


def test_no_runner_is_refused():
    with pytest.raises(ValueError, match="no runner was given"):
        measure({}, **CONDITIONS)
