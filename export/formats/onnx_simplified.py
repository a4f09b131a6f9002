"""An ONNX graph simplified by onnxsim, where that works and leaves what the graph takes and gives as it was."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from ..artifact import in_one_line
from ..quiet import quiet
from .onnx_weights import put_weights, weights_apart

if TYPE_CHECKING:
    import onnx_ir as ir


def simplified(model: ir.Model, *, apart: bool) -> tuple[ir.Model, str]:
    """The model after onnxsim, and "done"; or the model as it came, and why it stays so.

    `apart`: the weights are too heavy for one message, and onnxsim does not see them.
    """
    import onnx_ir as ir
    import onnxsim

    try:
        with quiet("onnxsim"), weights_apart(model) if apart else nullcontext({}) as weights:
            proto, _ = onnxsim.simplify(ir.to_proto(model))
        simpler = ir.from_proto(proto)
        put_weights(simpler, weights)
    except Exception as error:  # it is a bonus: whatever goes wrong in it, the checked original is as good
        return model, f"left out: onnxsim failed: {in_one_line(error)}"
    if _signature(simpler) != _signature(model):
        return model, "left out: onnxsim changed the opset, the inputs or the outputs"
    return simpler, "done, without the weights" if apart else "done"


def _signature(model: ir.Model) -> tuple[object, ...]:
    values = [*model.graph.inputs, *model.graph.outputs]
    return model.opset_imports.get(""), [(value.name, value.dtype, str(value.shape)) for value in values]
