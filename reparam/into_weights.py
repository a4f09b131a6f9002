"""The layers that take an affine map into their weights: one on their outputs, or one on their inputs.

Behind a layer, s·(W∗x + b) + t is the layer with W' = s·W and b' = s·b + t; exact for any kernel, stride, padding,
dilation and groups, because both act on the same output channel. A norm's own weight and bias do as well.

In front of a layer, W∗(s·x + t) + b is the layer with W' = W·diag(s) and b' = b + W·t. A scale goes in exactly whatever
the padding, since s·0 = 0. A shift does not where the kernel reads zero padding, for there it finds 0 and not t; nor in
a transposed convolution, whose outputs do not all see the same taps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from .affine import Affine
from .batch_norm import is_batch_norm
from .graph import again, arguments, constant, double, is_op, module_path, operator_name, put, shape

CONVOLUTIONS = ("conv1d", "conv2d", "conv3d")
TRANSPOSED = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")


def why_not_stored(module: GraphModule, layer: Node, shared: set[str]) -> str | None:
    """Why the layer's weights cannot be changed, or None if they can."""
    given = arguments(layer)
    for name in ("weight", "bias"):
        if given[name] is not None and constant(module, given[name]) is None:
            return f"the {name} of {module_path(layer)} is computed, not stored"
        if given[name] is not None and str(given[name].target) in shared:
            return f"the {name} of {module_path(layer)} is shared with another layer"
    return None


def is_weighted(node: Node) -> bool:
    return is_op(node, *CONVOLUTIONS, *TRANSPOSED, "linear")


def channel_axis(layer: Node) -> int:
    """The axis of the channels, in the layer's input as in its output."""
    rank = len(shape(layer))
    if is_op(layer, "linear"):
        return rank - 1
    if is_op(layer, *CONVOLUTIONS, *TRANSPOSED):
        return rank - 1 - int(operator_name(layer)[-2])  # the 2 of conv2d
    return 1


# Behind --------------------------------------------------------------------------------------------------------------


def takes_outputs(module: GraphModule, layer: Node, map_: Affine) -> bool:
    """Whether the layer is one whose own weights can become s·W and s·b + t."""
    if is_weighted(layer):
        return set(map_.varies_along()) <= {channel_axis(layer)}
    if is_batch_norm(layer) or (is_op(layer, "group_norm") and arguments(layer)["weight"] is not None):
        return set(map_.varies_along()) <= {1}
    if is_op(layer, "layer_norm") and arguments(layer)["weight"] is not None:
        rank = len(arguments(layer)["normalized_shape"])
        return all(axis >= map_.scale.dim() - rank for axis in map_.varies_along())
    return False


def with_outputs(module: GraphModule, layer: Node, map_: Affine) -> Node:
    """The layer, in front of the old one, with the map behind it inside its weights."""
    given = arguments(layer)
    if is_op(layer, "layer_norm"):
        lengths = tuple(given["normalized_shape"])
        scale, shift = (part[(0,) * (part.dim() - len(lengths))].expand(lengths) for part in (map_.scale, map_.shift))
    else:
        axis = channel_axis(layer)
        scale, shift = map_.along(axis, shape(layer)[axis])
    weight = _own(module, given["weight"], torch.ones_like(scale))
    bias = None if given["bias"] is None else double(module, given["bias"]) * scale
    if map_.shifts:
        bias = shift if bias is None else bias + shift
    _scale_(layer, weight, scale, of_outputs=True)
    return _with_weights(module, layer, weight=weight, bias=bias)


def _own(module: GraphModule, weight: Node | None, absent: Tensor | None = None) -> Tensor:
    """A copy of the weight in float64, to be written to."""
    value = constant(module, weight)
    if value is not None:
        return value.detach().to(torch.float64, copy=True)
    assert absent is not None
    return absent


# In front ------------------------------------------------------------------------------------------------------------


def why_not_inputs(layer: Node, before: Node, map_: Affine) -> str | None:
    """Why the layer cannot take in a map on `before`, which it reads; None if it can."""
    name = f"{module_path(layer)} ({operator_name(layer)})"
    if layer.args[0] is not before or layer.all_input_nodes.count(before) != 1:
        return f"{name} reads it as a weight"
    if not set(map_.varies_along()) <= {channel_axis(layer)}:
        return f"the channels are not the inputs of {name}"
    if map_.shifts and reads_padding(layer):
        return f"its shift cannot pass the zero padding of {name}: at the border the layer reads 0, not t"
    if map_.shifts and is_op(layer, *TRANSPOSED):
        return f"its shift cannot pass {name}: outputs see different numbers of taps"
    return None


def reads_padding(layer: Node) -> bool:
    """Whether the kernel of a convolution reads zeros beyond its input."""
    if not is_op(layer, *CONVOLUTIONS):
        return False
    padding = arguments(layer)["padding"]
    if padding == "same":
        return set(shape(arguments(layer)["weight"])[2:]) != {1}
    return padding != "valid" and any(padding)


def with_inputs(module: GraphModule, layer: Node, source: Node, map_: Affine) -> Node:
    """The layer, in front of the old one, reading `source`, with the map in front of it inside its weights."""
    given = arguments(layer)
    axis = channel_axis(layer)
    scale, shift = map_.along(axis, shape(source)[axis])
    if is_batch_norm(layer):
        return _norm_with_inputs(module, layer, source, scale, shift)
    weight = _own(module, given["weight"])
    bias = None if given["bias"] is None else double(module, given["bias"])
    if map_.shifts:
        moved = _reading(weight, shift, given.get("groups", 1))
        bias = moved if bias is None else bias + moved
    _scale_(layer, weight, scale, of_outputs=False)
    return _with_weights(module, layer, weight=weight, bias=bias, input=source)


def _reading(weight: Tensor, values: Tensor, groups: int) -> Tensor:
    """What a weight (out, in/groups, k…) makes of one value per input channel, the same under every tap: (out)."""
    taps = weight.flatten(1).unflatten(1, (weight.shape[1], -1))
    summed = taps[..., 0] if taps.shape[2] == 1 else taps.sum(2)
    return (summed.view(groups, -1, summed.shape[1]) @ values.reshape(groups, -1, 1)).flatten()


def _norm_with_inputs(module: GraphModule, norm: Node, source: Node, scale: Tensor, shift: Tensor) -> Node:
    """γ·(s·x + t − μ)/σ + β = (γ·s)·(x − μ)/σ + β + (γ/σ)·(t + (s − 1)·μ)."""
    given = arguments(norm)
    mean, variance = double(module, given["running_mean"]), double(module, given["running_var"])
    weight = _own(module, given["weight"], torch.ones_like(mean))
    bias = _own(module, given["bias"], torch.zeros_like(mean))
    bias = bias + weight * torch.rsqrt(variance + given["eps"]) * (shift + (scale - 1) * mean)
    return _with_weights(module, norm, weight=weight * scale, bias=bias, input=source)


# Writing -------------------------------------------------------------------------------------------------------------


def _scale_(layer: Node, weight: Tensor, scale: Tensor, *, of_outputs: bool) -> None:
    """Multiply a kernel (out, in/groups, k…), transposed (in, out/groups, k…), by the scale of each output or input.

    A norm has one number for each of its scales.
    """
    ones = [1] * (weight.dim() - 2)
    if weight.shape == scale.shape:
        weight.mul_(scale)
    elif is_op(layer, *TRANSPOSED) == of_outputs:
        groups = arguments(layer).get("groups", 1)
        weight.unflatten(0, (groups, -1)).mul_(scale.view(groups, 1, -1, *ones))
    else:
        weight.mul_(scale.view(-1, 1, *ones))


def _with_weights(module: GraphModule, layer: Node, *, weight: Tensor, bias: Tensor | None, **changed: Any) -> Node:
    given = arguments(layer)
    like = given["weight"] if given["weight"] is not None else given["running_mean"]
    name = str(like.meta.get("wanted", like.target))
    if given["weight"] is None:
        name = f"{name.removesuffix('running_mean')}weight"
    with module.graph.inserting_before(layer):
        changed["weight"] = put(module, name, weight, like=like)
        if bias is not None:
            changed["bias"] = put(module, bias_name(name), bias, like=like)
    return again(module, layer, **changed)


def bias_name(weight: str) -> str:
    """Beside the weight; nothing can be called `matrix.bias` where `matrix` is a tensor, not a module."""
    return f"{weight.removesuffix('weight')}bias" if weight.endswith("weight") else f"{weight}_bias"
