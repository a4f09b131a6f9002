"""What each node of a saved ONNX file costs, from the shapes that ONNX infers. The weights are not read.

MACs are those of convolutions and matrix products, as in `reparam/cost.py`. An open batch is one picture; a shape that
cannot be inferred is refused where it is needed: a count with a hole in it would be no count.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...reparam.cost import product_of_labels
from ...reparam.layer_cost import LayerCost
from ..artifact import in_one_line
from ..given import NotGiven
from .modules import modules_of_onnx

VIEWS = ("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Shape", "Size", "Dropout")
NOT_COUNTED = (
    "LSTM",
    "GRU",
    "RNN",
    "Attention",
    "MultiHeadAttention",
    "DeformConv",
    "If",
    "Loop",
    "Scan",
    "DFT",
    "STFT",
)
WEIGHTS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3, "ConvTranspose": 1}
"""Where a convolution has its weight (out, in/groups, *kernel), of a transposed one (in, out/groups, *kernel)."""
PRODUCTS = ("MatMul", "MatMulInteger", "QLinearMatMul", "FusedMatMul")

LARGE = 1024
"""No shape depends on a constant of more elements."""


@dataclass(frozen=True)
class _Value:
    """Shape and number format of a value of the graph; `stored` for an initializer, which is a weight if of floats."""

    shape: tuple[int, ...]
    itemsize: int
    stored: bool = False
    floating: bool = False

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.size * self.itemsize


def onnx_layers(path: Path) -> tuple[list[LayerCost], dict[str, tuple[int | str, ...]], list[str]]:
    """Every node in the order of execution, the shapes of the inputs, and the operator types that were not counted.

    Raises NotGiven for a file that is no ONNX model, or whose shapes are not known.
    """
    import onnx
    import onnx.inliner

    try:
        model = onnx.load(path, load_external_data=False)
        _for_one_picture(model.graph)
        drop_weights(model.graph)
        graph = onnx.shape_inference.infer_shapes(onnx.inliner.inline_local_functions(model), data_prop=True).graph
    except Exception as error:  # protobuf's and onnx's errors have no common base of their own
        raise NotGiven(f"{path.name} cannot be read as an ONNX model: {in_one_line(error)}") from error
    values, modules = _values(graph), modules_of_onnx(graph.node)
    seen: set[str] = set()
    counted = []
    for node in graph.node:
        if node.op_type != "Constant":
            try:
                counted.append(_layer(node, values, modules.get(node.output[0], ""), seen))
            except KeyError as error:
                raise NotGiven(
                    f"{path.name}: the shape of {error.args[0]!r}, at {node.name}, cannot be inferred"
                ) from None
    stored = {value.name for value in graph.initializer}
    inputs: dict[str, tuple[int | str, ...]] = {
        value.name: values[value.name].shape
        for value in graph.input
        if value.name not in stored and value.name in values
    }
    return counted, inputs, sorted({node.op_type for node in graph.node} & set(NOT_COUNTED))


def drop_weights(graph: Any) -> None:
    """Take the numbers of large constants out of a graph: no shape depends on them, and onnx copies a model often."""
    for tensor in graph.initializer:
        if math.prod(tensor.dims) > LARGE:
            tensor.ClearField("raw_data")
            tensor.ClearField("float_data")


def _for_one_picture(graph: Any) -> None:
    """Put 1 in the place of the batch, wherever the graph notes its symbol, and drop shapes that depend on others."""
    dims = [value.type.tensor_type.shape.dim for value in graph.input]
    symbols = {sizes[0].dim_param for sizes in dims if sizes and sizes[0].dim_param}
    for value in (*graph.input, *graph.output):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param in symbols:
                size.dim_value = 1
    if symbols:
        del graph.value_info[:]


def _values(graph: Any) -> dict[str, _Value]:
    """Everything in the graph whose shape is known, by name."""
    found = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and all(size.HasField("dim_value") for size in tensor.shape.dim):
            found[value.name] = _Value(tuple(size.dim_value for size in tensor.shape.dim), _itemsize(tensor.elem_type))
    for value in graph.initializer:
        found[value.name] = _Value(tuple(value.dims), _itemsize(value.data_type), True, _floating(value.data_type))
    return found


def _itemsize(element: int) -> int:
    import onnx

    return onnx.helper.tensor_dtype_to_np_dtype(element).itemsize


def _floating(element: int) -> bool:
    import onnx

    return "FLOAT" in onnx.TensorProto.DataType.Name(element) or element == onnx.TensorProto.DOUBLE


def _layer(node: Any, values: Mapping[str, _Value], module: str, seen: set[str]) -> LayerCost:
    """`seen` has the names of the weights that were counted before, and gets those of this node."""
    read = [values[name] for name in dict.fromkeys(node.input) if name in values and not values[name].stored]
    written = [values[name] for name in node.output if name in values]
    fresh = [
        values[name]
        for name in dict.fromkeys(node.input)
        if name in values and values[name].stored and name not in seen
    ]
    seen.update(node.input)
    moves = node.op_type not in VIEWS
    return LayerCost(
        name=node.name or node.output[0],
        operator=node.op_type,
        module=module,
        macs=_macs(node, values),
        parameters=sum(value.size for value in fresh if value.floating),
        weight_bytes=sum(value.bytes for value in fresh),
        read_bytes=sum(value.bytes for value in read) if moves else 0,
        written_bytes=sum(value.bytes for value in written) if moves else 0,
    )


def _macs(node: Any, values: Mapping[str, _Value]) -> int:
    """Multiply-accumulates of a node. Raises KeyError for a shape that is not known."""
    kind = node.op_type
    if kind in WEIGHTS:
        across = values[node.input[0] if kind == "ConvTranspose" else node.output[0]]
        return across.size * math.prod(values[node.input[WEIGHTS[kind]]].shape[1:])
    if kind == "Gemm":
        turned = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return values[node.output[0]].size * values[node.input[0]].shape[0 if turned else 1]
    if kind in PRODUCTS:
        turned = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return values[node.output[0]].size * values[node.input[0]].shape[-2 if turned else -1]
    if kind == "Einsum":
        equation = next(attribute.s.decode() for attribute in node.attribute if attribute.name == "equation")
        return product_of_labels(equation, [values[name].shape for name in node.input])
    return 0
