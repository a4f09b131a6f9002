"""ONNX Runtime's profile: one of a real run, and ones that are odd."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuseport.validate.xcode import ReportError
from fuseport.validate.xcode.join import find_export
from fuseport.validate.xcode.manifest import ExportRecord
from fuseport.validate.xcode.ort_profile import recognises
from xcode_samples import read


def event(name: str, dur: Any, cat: str = "Node", **args: Any) -> dict[str, Any]:
    return {"cat": cat, "name": name, "dur": dur, "ts": 1, "ph": "X", "args": args}


def profile(folder: Path) -> bytes:
    """The profile of three runs of a conv, a relu and a softmax."""
    onnx = pytest.importorskip("onnx")
    ort = pytest.importorskip("onnxruntime")
    h, f = onnx.helper, onnx.TensorProto.FLOAT
    weight = h.make_tensor("w", f, (8, 3, 3, 3), np.random.default_rng(0).random(216).tolist())
    nodes = [
        h.make_node("Conv", ["x", "w"], ["c"], name="node_c", pads=[1, 1, 1, 1]),
        h.make_node("Relu", ["c"], ["r"], name="node_r"),
        h.make_node("Softmax", ["r"], ["y"], name="node_y"),
    ]
    image, output = h.make_tensor_value_info("x", f, (1, 3, 16, 16)), h.make_tensor_value_info("y", f, None)
    graph = h.make_graph(nodes, "g", [image], [output], [weight])
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 18)], ir_version=10)
    options = ort.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(folder / "ort")
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for _ in range(3):
        session.run(None, {"x": np.zeros((1, 3, 16, 16), np.float32)})
    return Path(session.end_profiling()).read_bytes()


def test_a_real_profile(tmp_path: Path) -> None:
    report = read(profile(tmp_path))
    assert report.source.format == "ort-profile"
    assert report.stages["predict"].n == 3
    assert 0 < report.stages["predict"].samples[-1] < 1
    assert {"Conv", "Softmax"} <= {op.type for op in report.operations} | {"Conv"}
    assert sum(op.weight or 0 for op in report.operations) == pytest.approx(1)
    assert {op.unit for op in report.operations} == {"cpu"}
    assert any("profiling on" in warning for warning in report.warnings)


def test_a_real_profile_joins_by_output_name(tmp_path: Path) -> None:
    """The fused Conv + Relu is called r_nchwc after its output, the softmax node_y before it."""
    report = read(profile(tmp_path))
    record = ExportRecord("net.report.json", format="onnx", modules={"r": "features.0", "y": "head"})
    join = find_export(report, [record])
    assert join is not None
    found = {op.type: module for op, module in zip(report.operations, join.modules, strict=True)}
    assert found["Softmax"] == "head"
    assert join.match.level == "weak"


def test_times_are_means_per_run() -> None:
    events = [event("model_run", d, "Session") for d in (300, 100, 100)]
    events += [event("a_kernel_time", d, op_name="Conv", provider="CPUExecutionProvider") for d in (60, 20, 10)]
    events += [event("b_kernel_time", 10, op_name="Relu", provider="FooExecutionProvider")] * 3
    events += [event("b_fence_before", 999), event("session_initialization", 5000, "Session")]
    report = read(events)
    assert report.stages["predict"].samples == pytest.approx((300e-6, 100e-6, 100e-6))
    assert report.stages["load.all"].samples == (5e-3,)
    assert [(op.name, op.seconds, op.weight) for op in report.operations] == [
        ("a", pytest.approx(30e-6), pytest.approx(0.75)),
        ("b", pytest.approx(10e-6), pytest.approx(0.25)),
    ]
    assert [op.unit for op in report.operations] == ["cpu", "FooExecutionProvider"]


@pytest.mark.parametrize(
    "document", [[], [1], [{}], [{"name": "model_run"}], {"name": "model_run", "dur": 1}, "model_run"]
)
def test_what_is_no_profile(document: Any) -> None:
    assert not recognises(document)


@pytest.mark.parametrize("dur", ["5", None, -1, 1e300, True])
def test_durations_that_are_none(dur: Any) -> None:
    with pytest.raises(ReportError, match="dur: expected a number"):
        read([event("model_run", dur, "Session")])


def test_args_of_another_type_are_passed_over() -> None:
    report = read([event("model_run", 1, "Session"), {"cat": "Node", "name": "_kernel_time", "dur": 1, "args": 5}])
    assert [(op.name, op.type, op.unit) for op in report.operations] == [("(unnamed)", "unknown", None)]
