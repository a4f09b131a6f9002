"""An ONNX graph that takes pictures: bytes of 0..255, in the layout that an app has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..artifact import NotConverted
from ..request import ImageInput

if TYPE_CHECKING:
    import onnx_ir as ir


def take_pictures(model: ir.Model, image: ImageInput) -> None:
    """Make a uint8 picture of 0..255 of the input, in the layout asked for: x / 255 - mean comes before the network.

    The picture is transposed while it is still bytes, a quarter of the traffic.
    """
    import numpy as np
    import onnx_ir as ir

    tensor = _picture_input(model, image)
    assert tensor.shape is not None
    batch, channels, height, width = tensor.shape
    nchw, nhwc = ir.Shape([batch, channels, height, width]), ir.Shape([batch, height, width, channels])
    picture = ir.val(tensor.name, ir.DataType.UINT8, nhwc if image.layout == "nhwc" else nchw)
    steps: list[tuple[str, dict[str, int | list[int]], object]] = [
        ("Cast", {"to": ir.DataType.FLOAT}, None),
        ("Div", {}, 255),
        ("Sub", {}, [[[mean]] for mean in image.mean]),
    ]
    if image.layout == "nhwc":
        steps.insert(0, ("Transpose", {"perm": [0, 3, 1, 2]}, None))
    value, nodes = picture, []
    for op_type, attributes, operand in steps:
        inputs, name = [value], f"{tensor.name}_{op_type.lower()}"
        if operand is not None:
            constant = ir.tensor(np.array(operand, np.float32), name=f"{name}_by")
            inputs.append(ir.val(constant.name, const_value=constant))
            model.graph.register_initializer(inputs[-1])
        value = ir.val(name, ir.DataType.UINT8 if op_type == "Transpose" else ir.DataType.FLOAT, nchw)
        nodes.append(ir.node(op_type, inputs, attributes, outputs=[value], name=f"node_{name}"))
    ir.convenience.replace_all_uses_with(tensor, value)
    model.graph.inputs[list(model.graph.inputs).index(tensor)] = picture
    model.graph.insert_before(model.graph[0], nodes)


def _picture_input(model: ir.Model, image: ImageInput) -> ir.Value:
    fitting = [
        value
        for value in model.graph.inputs
        if value.shape is not None and len(value.shape) == 4 and value.shape[1] == len(image.mean)
    ]
    if len(fitting) != 1:
        raise NotConverted(
            f"a picture input needs one input of shape (N, {len(image.mean)}, H, W), but the model has {len(fitting)}; "
            "leave --image-input out"
        )
    return fitting[0]
