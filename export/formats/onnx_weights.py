"""The weights of an ONNX graph that is too big to copy them: transposed as they are written, and apart meanwhile.

torch writes x W^T as a product with Transpose(W). onnxsim would compute the transposed weight, and copies all others on
its way through protobuf; here the transposition is done when the weight is saved, one at a time, and onnxsim sees a
graph in which the weights are inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

LARGE_BYTES = 2**16
"""Smaller weights stay where they are: the simplifier computes with them (shapes, indices, scales)."""


def weight_bytes(model: ir.Model) -> int:
    return sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value is not None)


def transpose_when_saved(model: ir.Model) -> None:
    """Replace each Transpose of a weight by a weight that is transposed while it is written."""
    import onnx_ir as ir

    for node in list(model.graph):
        weight = node.inputs[0] if node.op_type == "Transpose" else None
        if weight is None or weight.const_value is None or not weight.is_initializer():
            continue
        perm = node.attributes.get("perm")
        order = tuple(range(len(weight.const_value.shape))[::-1] if perm is None else perm.as_ints())
        ir.convenience.replace_all_uses_with(node.outputs[0], _once_transposed(model, weight.const_value, order))
        model.graph.remove(node, safe=True)
    _forget_unread(model)


def _once_transposed(model: ir.Model, stored: ir.TensorProtocol, order: tuple[int, ...]) -> ir.Value:
    """The weight of the graph that is `stored` in another order of its axes, made once for all its readers."""
    import onnx_ir as ir

    name = f"{stored.name}.transposed_{''.join(map(str, order))}"
    if name not in model.graph.initializers:
        shape = ir.Shape([stored.shape.numpy()[axis] for axis in order])
        tensor = ir.LazyTensor(partial(_transposed, stored, order), stored.dtype, shape, name=name)
        model.graph.register_initializer(ir.val(name, const_value=tensor))
    return model.graph.initializers[name]


def _transposed(stored: ir.TensorProtocol, order: tuple[int, ...]) -> ir.TensorProtocol:
    import numpy as np
    import onnx_ir as ir

    return ir.Tensor(np.ascontiguousarray(stored.numpy().transpose(order)))


def _forget_unread(model: ir.Model) -> None:
    for name, value in list(model.graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del model.graph.initializers[name]


@contextmanager
def weights_apart(model: ir.Model) -> Iterator[dict[str, ir.TensorProtocol]]:
    """Within the block the large weights of `model` are inputs of its graph; their tensors by name.

    Afterwards they are weights again.
    """
    large = {
        name: value.const_value
        for name, value in model.graph.initializers.items()
        if value.const_value is not None and value.const_value.nbytes >= LARGE_BYTES
    }
    for name in large:
        value = model.graph.initializers.pop(name)
        value.const_value = None
        model.graph.inputs.append(value)
    try:
        yield large
    finally:
        put_weights(model, large)


def put_weights(model: ir.Model, weights: dict[str, ir.TensorProtocol]) -> None:
    """Make weights of the inputs with these names; those that the graph no longer reads are left out."""
    for value in [value for value in model.graph.inputs if value.name in weights]:
        model.graph.inputs.remove(value)
        assert value.name
        value.const_value = weights[value.name]
        model.graph.register_initializer(value)
    _forget_unread(model)
