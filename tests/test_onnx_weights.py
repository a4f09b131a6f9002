"""Heavy ONNX weights: transposed when they are written, apart while the graph is simplified."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from fuseport.export.formats import onnx_weights
from fuseport.export.formats.onnx_weights import put_weights, transpose_when_saved, weight_bytes, weights_apart
from onnx import TensorProto, helper, numpy_helper

WEIGHT = np.arange(12, dtype=np.float32).reshape(3, 4)
X = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)


def model(*, perm: list[int] | None = None) -> ir.Model:
    """y = x Wᵀ + (x Wᵀ), each with a Transpose of its own, and xᵀ, which is no weight; W of shape (3, 4)."""
    given = {} if perm is None else {"perm": perm}
    nodes = [
        helper.make_node("Transpose", ["w"], ["t1"], **given),
        helper.make_node("Transpose", ["w"], ["t2"], **given),
        helper.make_node("MatMul", ["x", "t1"], ["a"]),
        helper.make_node("MatMul", ["x", "t2"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["y"]),
        helper.make_node("Transpose", ["x"], ["turned"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3]),
            helper.make_tensor_value_info("turned", TensorProto.FLOAT, [4, 2]),
        ],
        [numpy_helper.from_array(WEIGHT, "w")],
    )
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9))


def computed(made: ir.Model, path: Path) -> list[np.ndarray]:
    ir.save(made, path, external_data="weights.data", size_threshold_bytes=0)
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return [np.asarray(value) for value in session.run(None, {"x": X})]


@pytest.mark.parametrize("perm", [None, [1, 0]])
def test_a_weight_is_stored_transposed_once_for_all_its_readers(perm: list[int] | None, tmp_path: Path) -> None:
    made = model(perm=perm)
    transpose_when_saved(made)
    assert [node.op_type for node in made.graph] == ["MatMul", "MatMul", "Add", "Transpose"]
    assert list(made.graph.initializers) == ["w.transposed_10"]
    assert weight_bytes(made) == WEIGHT.nbytes
    y, turned = computed(made, tmp_path / "net.onnx")
    np.testing.assert_allclose(y, 2 * X @ WEIGHT.T, rtol=1e-6)
    np.testing.assert_array_equal(turned, X.T)
    assert (tmp_path / "weights.data").stat().st_size == WEIGHT.nbytes


def test_weights_are_inputs_meanwhile_and_weights_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_weights, "LARGE_BYTES", WEIGHT.nbytes)
    made = model()
    with weights_apart(made) as weights:
        assert [value.name for value in made.graph.inputs] == ["x", "w"]
        assert weight_bytes(made) == 0
        copy = ir.from_proto(ir.to_proto(made))
    for again in (made, copy):
        put_weights(again, weights)
        assert [value.name for value in again.graph.inputs] == ["x"]
        np.testing.assert_allclose(computed(again, tmp_path / "net.onnx")[0], 2 * X @ WEIGHT.T, rtol=1e-6)


def test_small_weights_stay(tmp_path: Path) -> None:
    made = model()
    with weights_apart(made) as weights:
        assert weights == {}
        assert weight_bytes(made) == WEIGHT.nbytes
