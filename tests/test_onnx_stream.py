"""An ONNX graph in pieces gives what it gives in one, whatever crosses their ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from fuseport.export.saved.onnx_stream import stream
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

X = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
FLOATS = ("y", "halves_0", "halves_1", "chosen", "joined", "z")


def network() -> onnx.ModelProto:
    """Weights, constants, a condition whose branches read values from around them, and a sequence."""
    weight = numpy_helper.from_array(np.eye(4, 6, dtype=np.float32), "weight")
    two = numpy_helper.from_array(np.array(2.0, np.float32), "two")
    branches = {
        branch: helper.make_graph(
            [helper.make_node(operator, ["halves_0", "two"], [branch])],
            branch,
            [],
            [helper.make_tensor_value_info(branch, TensorProto.FLOAT, None)],
        )
        for branch, operator in (("then", "Mul"), ("else", "Add"))
    }
    nodes = [
        helper.make_node("Constant", [], ["two"], value=two),
        helper.make_node("MatMul", ["x", "weight"], ["y"]),
        helper.make_node("Split", ["y"], ["halves_0", "halves_1"], axis=1, num_outputs=2),
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
        helper.make_node("Less", ["total", "two"], ["small"]),
        helper.make_node("If", ["small"], ["chosen"], then_branch=branches["then"], else_branch=branches["else"]),
        helper.make_node("SequenceConstruct", ["chosen", "halves_1"], ["pair"]),
        helper.make_node("ConcatFromSequence", ["pair"], ["joined"], axis=1),
        helper.make_node("Mul", ["joined", "two"], ["z"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "z")]
    graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def values(names: tuple[str, ...], limit: int) -> list[tuple[str, np.ndarray]]:
    return list(stream(network(), Path(), {"x": X}, names, lambda name: 4, limit))


@pytest.mark.parametrize("limit", [1, 5, 9, 1000])
def test_pieces_give_what_the_whole_gives(limit: int) -> None:
    y = X @ np.eye(4, 6, dtype=np.float32)
    chosen = y[:, :3] * 2 if X.sum() < 2 else y[:, :3] + 2
    joined = np.concatenate([chosen, y[:, 3:]], 1)
    expected = (y, y[:, :3], y[:, 3:], chosen, joined, 2 * joined)
    found = values(FLOATS, limit)
    assert [name for name, _ in found] == list(FLOATS)
    for (_, value), right in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, right, rtol=1e-6)


def test_nothing_is_run_behind_the_last_that_is_asked_for() -> None:
    model = network()
    model.graph.node.append(helper.make_node("Reshape", ["z", "shape"], ["bad"]))
    model.graph.initializer.append(numpy_helper.from_array(np.array([5, 5]), "shape"))
    assert [name for name, _ in stream(model, Path(), {"x": X}, ["z"], lambda name: 4, 8)] == ["z"]
    with pytest.raises(Fail, match="Reshape"):
        list(stream(model, Path(), {"x": X}, ["bad"], lambda name: 4, 8))
