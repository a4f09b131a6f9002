"""Batch norm after a convolution, transposed convolution or linear layer goes into its weights.

With y = s·(W∗x + b) + t per output channel: W' = s·W, b' = s·b + t. Exact for any kernel, stride, padding, dilation,
groups and number of dimensions, because both maps act on the same output channel.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor
from torch.fx import GraphModule, Node

from .batch_norm import is_batch_norm, scale_and_shift, why_not_constant
from .graph import arguments, call, constant, double, is_op, module_path, only_user, put, shape, tied, with_arguments
from .rewrite import Match, Refusal

NAME = "conv-bn"

_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d")
_TRANSPOSED = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")


def find(module: GraphModule) -> Iterator[Match | Refusal]:
    shared = tied(module)
    for norm in module.graph.nodes:
        if not (is_batch_norm(norm) and is_op(norm.args[0], *_CONVOLUTIONS, *_TRANSPOSED, "linear")):
            continue
        layer = norm.args[0]
        assert isinstance(layer, Node)
        reason = _why_not(module, layer, norm, shared)
        if reason:
            yield Refusal(NAME, module_path(norm), reason)
        else:
            yield Match((layer, norm), (norm,), module_path(layer))


def _why_not(module: GraphModule, layer: Node, norm: Node, shared: set[str]) -> str | None:
    given = arguments(layer)
    if reason := why_not_constant(module, norm):
        return reason
    if only_user(layer) is not norm:
        return f"the output of {module_path(layer)} is also read by others, which need it before the norm"
    if is_op(layer, "linear") and len(shape(layer)) != 2:
        return "the norm's channels are not the linear layer's outputs"
    for name in ("weight", "bias"):
        if given[name] is not None and constant(module, given[name]) is None:
            return f"the {name} of {module_path(layer)} is computed, not stored"
        if given[name] is not None and str(given[name].target) in shared:
            return f"the {name} of {module_path(layer)} is shared with another layer"
    return None


def rewrite(module: GraphModule, match: Match) -> tuple[Node, ...]:
    layer, norm = match.nodes
    given = arguments(layer)
    scale, shift = scale_and_shift(module, norm)
    weight = double(module, given["weight"])
    bias = shift if given["bias"] is None else double(module, given["bias"]) * scale + shift
    name = str(given["weight"].meta.get("wanted", given["weight"].target))
    stem = name.removesuffix("weight") if name.endswith("weight") else f"{name}."
    folded_weight = put(module, name, _scale_outputs(layer, weight, scale), like=given["weight"])
    folded_bias = put(module, f"{stem}bias", bias, like=given["weight"])
    arguments_ = with_arguments(layer, weight=folded_weight, bias=folded_bias)
    return (call(module, layer.target, arguments_, like=layer),)


def _scale_outputs(layer: Node, weight: Tensor, scale: Tensor) -> Tensor:
    """Each output channel's kernel times its scale; a transposed weight is (in, out/groups, k…)."""
    if not is_op(layer, *_TRANSPOSED):
        return weight * scale.view(-1, *[1] * (weight.dim() - 1))
    groups = arguments(layer)["groups"]
    grouped = weight.view(groups, -1, *weight.shape[1:])
    return (grouped * scale.view(groups, 1, -1, *[1] * (weight.dim() - 2))).view_as(weight)
