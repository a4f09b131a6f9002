"""The contents of an ONNX file: functions written out, shapes inferred, weights read where they lie when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..artifact import Artifact, NotRun, in_one_line
from ..given import NotGiven
from ..saved.modules import modules_of_onnx
from ..saved.onnx_cost import drop_weights, onnx_layers
from ..saved.opened import ArtifactError
from .contents import Contents, Node, Value, told
from .kinds import of_onnx


def read_onnx(artifact: Artifact) -> Contents:
    """The file behind an opened artifact. Raises ArtifactError for a graph that cannot be read."""
    import onnx
    import onnx.inliner

    try:
        model: Any = onnx.load(str(artifact.path), load_external_data=False)
        stored = _taken(model.graph)
        model = onnx.inliner.inline_local_functions(model)
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception as error:  # protobuf's and onnx's errors have no common base of their own
        raise ArtifactError(f"{artifact.path}: cannot be read as an ONNX model: {in_one_line(error)}") from error
    constants = {value.name: value for value in _constants(stored, graph, artifact.path)}
    types = {value.name: value.type.tensor_type for value in (*graph.input, *graph.value_info, *graph.output)}
    modules = modules_of_onnx(graph.node)
    return Contents(
        artifact,
        {entry.key: entry.value for entry in model.metadata_props},
        tuple(_node(node, constants, types, modules) for node in graph.node if node.op_type != "Constant"),
        constants,
        {},
        _cost(artifact.path),
    )


def _taken(graph: Any) -> tuple[Any, ...]:
    """The initializers; the graph keeps those of which shapes may depend."""
    import onnx

    stored = []
    for tensor in graph.initializer:
        stored.append(onnx.TensorProto())
        stored[-1].CopyFrom(tensor)
    drop_weights(graph)
    return tuple(stored)


def _constants(stored: tuple[Any, ...], graph: Any, path: Path) -> Iterator[Value]:
    """Initializers and constant nodes, those of numbers."""
    from onnx import TensorProto, helper

    for tensor in stored:
        if tensor.data_type != TensorProto.STRING:
            yield _value(tensor, tensor.name, path)
    for node in graph.node:
        if node.op_type != "Constant" or not node.attribute:
            continue
        found = helper.get_attribute_value(node.attribute[0])
        if hasattr(found, "data_type") and found.data_type != TensorProto.STRING:
            yield _value(found, node.output[0], path)
        elif (array := np.asarray(found)).dtype.kind in "if":
            array = array.astype(np.float32) if array.dtype.kind == "f" else array
            yield Value(node.output[0], array.shape, array.dtype.name, array.nbytes, partial(np.asarray, array))


def _value(tensor: Any, name: str, path: Path) -> Value:
    from onnx import helper

    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    shape = tuple(tensor.dims)
    return Value(name, shape, dtype.name, int(np.prod(shape)) * dtype.itemsize, partial(_numbers, tensor, path))


def _numbers(tensor: Any, path: Path) -> NDArray:
    from onnx import numpy_helper

    try:
        found = numpy_helper.to_array(tensor, base_dir=str(path.parent))
    except Exception as error:  # fewer numbers than the shape says, a file that is not there
        raise ArtifactError(f"{path}: the weight {tensor.name!r} cannot be read: {in_one_line(error)}") from error
    return found.astype(np.float32) if found.dtype.kind not in "iub" else found


def _node(node: Any, constants: Mapping[str, Value], types: Mapping[str, Any], modules: Mapping[str, str]) -> Node:
    from onnx import helper

    made = types.get(node.output[0])
    slots = [(f"input {at}", name) for at, name in enumerate(node.input) if name]
    settings = {entry.name: _setting(helper.get_attribute_value(entry)) for entry in node.attribute}
    settings |= {
        slot: told(constants[name].read())
        for slot, name in slots
        if name in constants and not constants[name].is_weight
    }
    return Node(
        name=node.name or node.output[0],
        operator=node.op_type,
        kind=of_onnx(node.op_type),
        module=modules.get(node.output[0], ""),
        inputs=tuple(slots),
        outputs=tuple(node.output),
        settings=tuple(sorted(settings.items())),
        dtype=helper.tensor_dtype_to_np_dtype(made.elem_type).name
        if made is not None and made.elem_type
        else "unknown",
        shape=_shape(made),
    )


def _shape(made: Any) -> tuple[int | None, ...] | None:
    if made is None or not made.HasField("shape"):
        return None
    return tuple(size.dim_value if size.HasField("dim_value") else None for size in made.shape.dim)


def _setting(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, list | tuple | int | float):
        return told(value)
    return str(value)[:200]


def _cost(path: Path) -> Any:
    try:
        return tuple(onnx_layers(path)[0])
    except NotGiven as error:
        return NotRun(str(error))
