"""The time of operators: from ONNX Runtime's profile, warm calls only, joined to modules by the file or its report."""

from pathlib import Path

import onnx
import pytest
from fuseport.export.given import Given
from fuseport.export.profile.contestants import feed
from fuseport.export.profile.operator_times import WARM_UP, _without_first_calls, operator_times
from fuseport.export.saved.session import inputs_of, metadata_of, open_session, providers
from profile_samples import small_onnx


def measured(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fuseport.export.profile.operator_times.SECONDS", 0.0)
    inputs = feed(inputs_of(open_session(path, threads=1)), 2, 0)
    assert isinstance(inputs, dict)
    return operator_times(Given(path.name, "onnx", path=path), 1, inputs)


def test_operators_are_timed_slowest_first_and_placed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found = measured(small_onnx(tmp_path, side=64), monkeypatch)
    times = [operator.ms for operator in found.operators]
    assert times == sorted(times, reverse=True)
    assert found.calls == 3
    assert found.modules_from == "the nodes of small.onnx"
    assert {operator.module: operator.type for operator in found.operators}["stem.conv"] == "Conv", "with its ReLU"
    known = sum(operator.ms for operator in found.operators if operator.module)
    assert found.joined == pytest.approx(known / sum(times))
    assert list(tmp_path.glob("*.json")) == [], "no profile is left behind"


def test_a_file_of_others_has_times_and_no_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = small_onnx(tmp_path)
    model = onnx.load(path)
    for node in model.graph.node:
        del node.metadata_props[:]
    onnx.save(model, path)
    found = measured(path, monkeypatch)
    assert found.joined == 0
    assert {operator.module for operator in found.operators} == {None}
    assert found.modules_from.startswith("nowhere")


def test_the_first_calls_are_left_out():
    trace = [{"name": "model_run", "ts": 10 * i} for i in range(5)] + [
        {"name": "x", "ts": 10 * i + 1} for i in range(5)
    ]
    kept = _without_first_calls(trace, WARM_UP)
    assert sorted(event["ts"] for event in kept) == [30, 31, 40, 41]


def test_a_session_tells_what_it_takes_and_what_the_file_says(tmp_path: Path):
    path = small_onnx(tmp_path, side="side")
    model = onnx.load(path)
    model.metadata_props.add(key="fuseport.export_id", value="abc")
    onnx.save(model, path)
    opened = open_session(path, threads=1)
    (image,) = inputs_of(opened)
    assert (image.name, image.shape, image.dtype) == ("image", ("n", 3, "side", "side"), "float32")
    assert metadata_of(opened) == {"fuseport.export_id": "abc"}
    assert "CPUExecutionProvider" in providers()
