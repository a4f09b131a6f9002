"""Batch norm after a convolution, transposed convolution or linear layer goes into its weights.

With y = s·(W∗x + b) + t per output channel: W' = s·W, b' = s·b + t. Exact for any kernel, stride, padding, dilation,
groups and number of dimensions, because both maps act on the same output channel.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch.fx import GraphModule, Node

from .affine import affine_of
from .batch_norm import is_batch_norm, why_not_constant
from .graph import is_op, module_path, only_user, shape, tied
from .into_weights import is_weighted, why_not_stored, with_outputs
from .rewrite import Match, Refusal

NAME = "conv-bn"


def find(module: GraphModule) -> Iterator[Match | Refusal]:
    shared = tied(module)
    for norm in module.graph.nodes:
        if not (is_batch_norm(norm) and is_weighted(norm.args[0])):
            continue
        layer = norm.args[0]
        assert isinstance(layer, Node)
        reason = _why_not(module, layer, norm, shared)
        if reason:
            yield Refusal(NAME, module_path(norm), reason)
        else:
            yield Match((layer, norm), (norm,), module_path(layer))


def _why_not(module: GraphModule, layer: Node, norm: Node, shared: set[str]) -> str | None:
    if reason := why_not_constant(module, norm):
        return reason
    if only_user(layer) is not norm:
        return f"the output of {module_path(layer)} is also read by others, which need it before the norm"
    if is_op(layer, "linear") and len(shape(layer)) != 2:
        return "the norm's channels are not the linear layer's outputs"
    return why_not_stored(module, layer, shared)


def rewrite(module: GraphModule, match: Match) -> tuple[Node, ...]:
    layer, norm = match.nodes
    found = affine_of(module, norm)
    assert found is not None
    return (with_outputs(module, layer, found[0]),)
