"""Costs of ONNX files, node by node, against closed forms; files that cannot be counted are refused."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from fuseport.export.given import NotGiven
from fuseport.export.saved.onnx_cost import onnx_layers
from onnx import TensorProto, helper, numpy_helper


def saved(folder: Path, nodes: list, x: list, outputs: dict[str, list], **weights: tuple[int, ...]) -> Path:
    """A file of these nodes with an input `x` of a shape, outputs of theirs, and float weights."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in weights.items()],
    )
    path = folder / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
    return path


def test_a_network_in_closed_form_with_an_open_batch(tmp_path: Path):
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv", strides=[2, 2], pads=[1, 1, 1, 1], group=2),
        helper.make_node("Flatten", ["c"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "g"], ["y"], name="head", transB=1),
    ]
    nodes[0].metadata_props.add(key="fuseport.module", value="stem.conv")
    path = saved(tmp_path, nodes, ["n", 4, 8, 8], {"y": ["n", 10]}, w=(6, 2, 3, 3), b=(6,), g=(10, 96))
    (conv, flat, head), inputs, missed = onnx_layers(path)
    assert (conv.macs, conv.parameters, conv.module) == (6 * 16 * 2 * 9, 6 * 18 + 6, "stem.conv")
    assert (conv.read_bytes, conv.written_bytes) == (4 * 256, 4 * 96)
    assert (flat.macs, flat.read_bytes, flat.written_bytes) == (0, 0, 0)
    assert (head.macs, head.weight_bytes, head.module) == (960, 4 * 960, "")
    assert (inputs, missed) == ({"x": (1, 4, 8, 8)}, [])


def test_products_and_what_is_not_counted(tmp_path: Path):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Einsum", ["m", "w"], ["e"], equation="bij,jk->bik"),
        helper.make_node("ConvTranspose", ["e", "t"], ["y"]),
        helper.make_node("LSTM", ["x", "a", "r"], ["l"], hidden_size=3),
    ]
    weights = {"w": (5, 5), "t": (4, 2, 3), "a": (1, 12, 5), "r": (1, 12, 3)}
    path = saved(tmp_path, nodes, [1, 4, 5], {"y": [1, 2, 7], "l": [1, 1, 4, 3]}, **weights)
    layers, _, missed = onnx_layers(path)
    assert [layer.macs for layer in layers] == [4 * 5 * 5, 4 * 5 * 5, 20 * 2 * 3, 0]
    assert [layer.parameters for layer in layers][:2] == [25, 0], "a weight is counted where it is first read"
    assert missed == ["LSTM"]


def test_what_cannot_be_counted_is_refused(tmp_path: Path):
    (tmp_path / "bad.onnx").write_bytes(b"no model at all")
    with pytest.raises(NotGiven, match="cannot be read as an ONNX model"):
        onnx_layers(tmp_path / "bad.onnx")
    nodes = [
        helper.make_node("NonZero", ["x"], ["z"]),
        helper.make_node("Cast", ["z"], ["f"], to=1),
        helper.make_node("MatMul", ["f", "f"], ["y"], name="guess"),
    ]
    with pytest.raises(NotGiven, match=r"the shape of '[fy]', at guess, cannot be inferred"):
        onnx_layers(saved(tmp_path, nodes, [4, 5], {"y": ["p", "q"]}))
