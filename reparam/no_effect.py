"""Operators that change nothing at inference go: dropout, copies, casts to the same type, full slices, x + 0, x·1.

So do bounds at infinity, which models carry that can be given others by a checkpoint.

Of two moves in a row that amount to one (reshape after reshape, permutation after permutation) one goes, and both do if
they undo each other. What takes only the shape of a second value (`reshape_as`) is told that shape.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from .affine import affine_of
from .batch_norm import is_batch_norm
from .graph import arguments, axis_order, call, constant, dtype, is_op, module_path, only_user, shape
from .rewrite import Match

NAME = "no-effect"

_COPIES = ("dropout", "alpha_dropout", "feature_dropout", "alias", "detach", "clone", "contiguous", "lift_fresh_copy")
_CASTS = ("to", "_to_copy", "type_as")
_RESHAPES = ("view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze")
_ADAPTIVE = ("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d")
_SLICES = ("slice", "expand", "narrow", "expand_as", *_ADAPTIVE, *_RESHAPES)
"""Operators that have no effect when the shape stays as it is. A pooling to the size that is there averages nothing."""

SHAPED_AS = ("reshape_as", "view_as")
"""Operators that take the shape of their second input, nothing else of it."""


def find(module: GraphModule) -> Iterator[Match]:
    for node in module.graph.nodes:
        read = _first(node)
        if read is None:
            continue
        if _has_no_effect(module, node, read):
            yield Match((node,), (node,), module_path(node))
        elif is_op(node, *SHAPED_AS) and _open_axes(node) <= 1:
            yield Match((node,), (node,), module_path(node), plan=read)
        elif _merges(read, node):
            yield Match((read, node), (node,), module_path(node))


def unchanged(module: GraphModule, node: Node) -> Node | None:
    """What the node reads, if it hands that on as it is."""
    read = _first(node)
    return read if read is not None and _has_no_effect(module, node, read) else None


def _first(node: Node) -> Node | None:
    """The tensor that an operator's first argument is, weights aside."""
    read = node.args[0] if node.op == "call_function" and node.args else None
    if not isinstance(read, Node) or not isinstance(read.meta.get("val"), Tensor) or read.op == "get_attr":
        return None
    return read


def _has_no_effect(module: GraphModule, node: Node, read: Node) -> bool:
    if not isinstance(node.meta.get("val"), Tensor) or not _same(node, read):
        return False
    if is_op(node, *_COPIES):
        return not arguments(node).get("train")
    if is_op(node, *_CASTS, *_SLICES):
        return True
    if is_op(node, "permute"):
        return list(arguments(node)["dims"]) == list(range(len(shape(node))))
    if is_op(node, "clamp"):
        return _clamps_nothing(module, node)
    if is_batch_norm(node) or not is_op(node, "add", "sub", "mul", "div"):
        return False
    found = affine_of(module, node)
    return found is not None and found[1] is read and not found[0].shifts and bool((found[0].scale == 1).all())


def _clamps_nothing(module: GraphModule, node: Node) -> bool:
    """Whether the bounds, numbers or stored tensors, are infinite."""
    given = arguments(node)
    for name, infinite in (("min", -torch.inf), ("max", torch.inf)):
        bound = constant(module, given[name]) if isinstance(given[name], Node) else given[name]
        if isinstance(given[name], Node) and bound is None:
            return False
        if bound is not None and not bool((torch.as_tensor(bound) == infinite).all()):
            return False
    return True


def _same(node: Node, read: Node) -> bool:
    """Same type, and same shape for every size of an open axis."""
    if dtype(node) != dtype(read) or node.meta["val"].device != read.meta["val"].device:
        return False
    if len(shape(node)) != len(shape(read)):
        return False
    return all(_expression(one) == _expression(other) for one, other in zip(shape(node), shape(read), strict=True))


def _expression(length: int | torch.SymInt) -> object:
    return length.node.expr if isinstance(length, torch.SymInt) else length


def _merges(first: Node, second: Node) -> bool:
    """Whether two moves are of one kind, and nobody else sees what is between them."""
    alone = only_user(first) is second and len(first.all_input_nodes) == len(second.all_input_nodes) == 1
    kind = _kind(second)
    return alone and kind is not None and kind == _kind(first) and (kind == "permutation" or _open_axes(second) <= 1)


def _kind(node: Node) -> str | None:
    if is_op(node, *_RESHAPES):
        return "reshape"
    return "permutation" if is_op(node, "permute", "transpose") else None


def _open_axes(node: Node) -> int:
    return sum(isinstance(length, torch.SymInt) for length in shape(node))


def rewrite(module: GraphModule, match: Match) -> tuple[Node, ...]:
    read, last = match.nodes[0].args[0], match.nodes[-1]
    assert isinstance(read, Node)
    if len(match.nodes) == 1 and match.plan is None:
        return (read,)
    if _kind(last) != "permutation":
        lengths = [-1 if isinstance(length, torch.SymInt) else length for length in shape(last)]
        return (call(module, torch.ops.aten.reshape.default, (read, lengths), like=last),)
    order = [axis_order(match.nodes[0])[place] for place in axis_order(last)]
    if order == list(range(len(order))):
        return (read,)
    return (call(module, torch.ops.aten.permute.default, (read, order), like=last),)
