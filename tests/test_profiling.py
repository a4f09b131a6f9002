"""A whole run of the profiler: interleaved figures, failures that stop nobody else, all that can be asked."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from fuseport.export.artifact import NotRun, TensorSpec
from fuseport.export.backends import Backend, Opened
from fuseport.export.given import Given, given
from fuseport.export.job import Source
from fuseport.export.profile.contestants import Contestant
from fuseport.export.profile.profile_report import (
    SCHEMA,
    OperatorTimes,
    ProfileReport,
    Throughput,
    Work,
    profile_json,
    write_profile,
)
from fuseport.export.profile.profiling import Asked, profile
from fuseport.export.profile.rooflines import roofline
from fuseport.validate.latency import Latency
from fuseport.validate.measure import Plan
from fuseport.validate.roofline import Distance
from profile_samples import small_onnx

SOURCE = Source(variant="")
BRIEF = Plan(bound=0.5, min_samples=5, max_seconds=0.2)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> ProfileReport:
    """A file of an open batch and one of a fixed batch, with everything but memory."""
    folder = tmp_path_factory.mktemp("files")
    subjects = [
        given(str(small_onnx(folder, name, batch=batch)), SOURCE) for name, batch in (("a.onnx", "n"), ("b.onnx", 1))
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fuseport.export.profile.profiling.roofline", partial(roofline, seconds=0.2))
        return profile(subjects, Asked(throughput=(1, 4), operators=True, roofline=True, plan=BRIEF))


def latency_of(report: ProfileReport, place: int) -> Latency:
    found = report.entrants[place].latency
    assert isinstance(found, Latency)
    return found


def test_every_contestant_has_its_figures_and_conditions(whole: ProfileReport):
    assert (whole.schema, [each.backend for each in whole.entrants]) == (SCHEMA, ["ort-cpu", "ort-cpu"])
    for place in (0, 1):
        taken = latency_of(whole, place)
        assert taken.min_ms <= taken.low_ms <= taken.median_ms <= taken.high_ms <= taken.p99_ms
        assert (taken.samples, taken.warmup, taken.threads, taken.batch) == (len(taken.samples_ms), 3, 1, 1)
        assert taken.first_ms is not None
        assert whole.entrants[place].load_ms
    assert latency_of(whole, 0).samples == latency_of(whole, 1).samples, "they took turns"
    assert whole.entrants[0].versus == "the first"
    assert whole.conditions.versions["torch"]
    assert whole.conditions.machine.cores > 0


def test_throughput_is_batch_over_time_and_a_fixed_batch_says_so(whole: ProfileReport):
    open_batch, fixed = (each.throughput for each in whole.entrants)
    assert all(isinstance(one, Throughput) for one in open_batch)
    one, four = open_batch
    assert isinstance(one, Throughput)
    assert isinstance(four, Throughput)
    assert one.latency == latency_of(whole, 0), "the same samples: batch 1 is measured once"
    assert four.pictures_per_s == pytest.approx(4e3 / four.latency.median_ms)
    assert four.low <= four.pictures_per_s <= four.high
    assert isinstance(fixed[1], NotRun)
    assert "batch of 1 alone, not 4" in fixed[1].reason


def test_work_is_counted_and_put_under_the_roofline(whole: ProfileReport):
    entrant, best = whole.entrants[0], whole.roofline
    assert best is not None
    assert isinstance(entrant.work, Work)
    assert entrant.work.macs == 4 * 64 * 27 + 40
    assert isinstance(entrant.roofline, Distance)
    reached = 2 * entrant.work.macs / latency_of(whole, 0).median_ms * 1e3
    assert entrant.roofline.flops_per_s == pytest.approx(reached)
    assert 0 < entrant.roofline.share < 1


def test_the_time_of_operators_is_joined_to_modules(whole: ProfileReport):
    found = whole.entrants[0].operators
    assert isinstance(found, OperatorTimes)
    assert {"stem.conv", "pool", "head"} <= {operator.module for operator in found.operators}
    assert 0 < sum(operator.ms for operator in found.operators) < found.call_ms


def test_the_report_is_json_and_is_written_whole(whole: ProfileReport, tmp_path: Path):
    write_profile(whole, tmp_path / "p.json")
    told = json.loads((tmp_path / "p.json").read_text(encoding="utf-8"))
    assert told == json.loads(profile_json(whole))
    assert told["entrants"][1]["throughput"][1]["not_run"]
    assert told["entrants"][0]["memory"] is None


@pytest.mark.usefixtures("tiny")
def test_a_model_runs_eager_and_folded_at_every_batch_size(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fuseport.export.profile.profiling.roofline", partial(roofline, seconds=0.0))
    asked = Asked(backends=("torch", "torch-folded"), throughput=(3,), roofline=True, plan=BRIEF)
    report = profile([given("shvit_tiny", SOURCE)], asked)
    assert [each.backend for each in report.entrants] == ["torch", "torch-folded"]
    assert len(report.ran) == 2
    assert all(isinstance(each.throughput[0], Throughput) for each in report.entrants)
    eager, folded = (each.work for each in report.entrants)
    assert isinstance(eager, Work)
    assert isinstance(folded, Work)
    assert folded.macs == eager.macs > 0
    assert folded.activation_bytes < eager.activation_bytes
    assert folded.weight_bytes < eager.weight_bytes


def stand_in(name: str, run: Callable[[dict], object]) -> Backend:
    """An engine for models that runs a function."""
    opened = Opened((TensorSpec("x", ("batch", 2), "float32"),), run)
    return Backend(name, name, "model", lambda given, threads: opened, lambda: "", "always")


def test_who_fails_is_told_and_stops_nobody(monkeypatch: pytest.MonkeyPatch):
    def fail(feed: dict) -> object:
        raise RuntimeError("out of\nmemory")

    seen = []
    runs = {"good": lambda feed: seen.append(feed["x"].shape), "bad": fail}
    nobody = Given("m", "model", source=SOURCE)
    line = tuple(Contestant(name, nobody, stand_in(name, run)) for name, run in runs.items())
    monkeypatch.setattr("fuseport.export.profile.profiling.line_up", lambda subjects, backends: line)
    report = profile([nobody], Asked(batch=2, operators=True, plan=BRIEF))
    good, bad = report.entrants
    assert isinstance(good.latency, Latency)
    assert bad.latency == NotRun("it failed in its first call: out of")
    assert (good.operators, good.placement) == (None, None)
    assert set(seen) == {(2, 2)}
    assert len(seen) == good.latency.samples + good.latency.warmup
    assert report.verdict.outcome == "nothing to compare"


def test_a_restless_contestant_makes_the_comparison_unreliable(monkeypatch: pytest.MonkeyPatch):
    """The slow one is slow in every other call only: no winner may come of it."""
    import time

    count = iter(range(10**6))
    runs = {
        "steady": lambda feed: time.sleep(0.002),
        "restless": lambda feed: time.sleep(0.001 + 0.008 * (next(count) % 2)),
    }
    nobody = Given("m", "model", source=SOURCE)
    line = tuple(Contestant(name, nobody, stand_in(name, run)) for name, run in runs.items())
    monkeypatch.setattr("fuseport.export.profile.profiling.line_up", lambda subjects, backends: line)
    report = profile([nobody], Asked(plan=replace(BRIEF, max_seconds=0, min_samples=21)))
    assert (report.verdict.outcome, report.verdict.winner) == ("unreliable", None)
    assert report.entrants[1].versus == "unreliable"


def test_nothing_that_runs_is_a_report_too():
    package = Given("m.mlpackage", "coreml", path=Path(__file__))
    report = profile([package], Asked(throughput=(2,), operators=True, memory=False, plan=BRIEF))
    (entrant,) = report.entrants
    assert isinstance(entrant.latency, NotRun)
    assert report.ran == {}
    assert report.verdict.reason == "nothing ran"
    assert np.isfinite(report.conditions.timer_ns)
