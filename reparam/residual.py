"""An identity that is added to a convolution becomes part of its kernel.

x + W∗x + b = (W + I)∗x + b, where I is the Dirac kernel: one at the centre tap of every channel's own input. Exact when
the convolution keeps the shape (stride 1, odd kernel, zero padding of half its extent, as many inputs as outputs). This
is the identity branch of RepVGG (arXiv 2101.03697, section 3.3) and the residual depthwise convolution of SHViT.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from .graph import arguments, call, constant, double, dtype, is_op, module_path, only_user, put, tied, with_arguments
from .rewrite import Match, Refusal

NAME = "residual-conv"


def find(module: GraphModule) -> Iterator[Match | Refusal]:
    shared = tied(module)
    for add in module.graph.nodes:
        layer = _convolution_of(add)
        if layer is None:
            continue
        reason = _why_not(module, layer, add, shared)
        if reason:
            yield Refusal(NAME, module_path(layer), reason)
        else:
            yield Match((layer, add), (add,), module_path(layer))


def _convolution_of(add: Node) -> Node | None:
    """The convolution whose own input is the other side of this addition."""
    if not is_op(add, "add"):
        return None
    sides = add.args[:2]
    for layer, other in (sides, reversed(sides)):
        if is_op(layer, "conv1d", "conv2d", "conv3d") and isinstance(layer, Node) and layer.args[0] is other:
            return layer
    return None


def _why_not(module: GraphModule, layer: Node, add: Node, shared: set[str]) -> str | None:
    given = arguments(layer)
    weight = constant(module, given["weight"])
    if weight is None or str(given["weight"].target) in shared:
        return "its weight is computed or shared with another layer"
    if only_user(layer) is not add:
        return "its output is also read by others, which need it without the identity"
    if given["groups"] * weight.shape[1] != weight.shape[0]:
        return "it has not as many inputs as outputs"
    if not _keeps_positions(given, tuple(weight.shape[2:])):
        return "its kernel is not centred on the position that it writes"
    if dtype(add) != dtype(layer):
        return f"the sum is {dtype(add)}, the convolution {dtype(layer)}"
    return None


def _keeps_positions(given: dict[str, Any], kernel: tuple[int, ...]) -> bool:
    stride, padding, dilation = (_spread(given[name], len(kernel)) for name in ("stride", "padding", "dilation"))
    if any(extent % 2 == 0 for extent in kernel) or any(step != 1 for step in stride):
        return False
    if padding == ("same",) * len(kernel):
        return True
    return all(2 * pad == gap * (extent - 1) for pad, gap, extent in zip(padding, dilation, kernel, strict=True))


def _spread(value: Any, dims: int) -> tuple[Any, ...]:
    """A convolution's argument per dimension; torch takes one value for all."""
    values = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    return values if len(values) == dims else values * dims


def rewrite(module: GraphModule, match: Match) -> tuple[Node, ...]:
    layer, add = match.nodes
    given, alpha = arguments(layer), arguments(add)["alpha"]
    of_layer, of_identity = (1, alpha) if add.args[0] is layer else (alpha, 1)
    weight = of_layer * double(module, given["weight"])
    weight = weight + of_identity * _dirac(weight, given["groups"])
    replaced = {"weight": put(module, _wanted(given["weight"]), weight, like=given["weight"])}
    if given["bias"] is not None and of_layer != 1:
        bias = of_layer * double(module, given["bias"])
        replaced["bias"] = put(module, _wanted(given["bias"]), bias, like=given["bias"])
    return (call(module, layer.target, with_arguments(layer, **replaced), like=layer),)


def _wanted(node: Node) -> str:
    return str(node.meta.get("wanted", node.target))


def _dirac(weight: Tensor, groups: int) -> Tensor:
    """The kernel of the identity: one where an output channel reads its own input at the centre."""
    identity = torch.zeros_like(weight)
    return torch.nn.init.dirac_(identity, groups)
