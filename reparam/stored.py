"""A reordering of a stored weight becomes a stored weight: reshape, permute, squeeze and the like, done once, now.

Only operators that move values and keep their number are taken: what is stored neither grows nor changes.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch.fx import GraphModule, Node

from .graph import constant, double, is_op, module_path, put, tied
from .rewrite import Match

NAME = "stored-view"

_MOVES = ("view", "reshape", "flatten", "unflatten", "permute", "transpose", "t", "squeeze", "unsqueeze", "contiguous")


def find(module: GraphModule) -> Iterator[Match]:
    shared = tied(module)
    for node in module.graph.nodes:
        if not is_op(node, *_MOVES) or len(node.all_input_nodes) != 1:
            continue
        weight = constant(module, node.args[0])
        if weight is not None and weight.is_floating_point() and str(node.args[0].target) not in shared:
            yield Match((node,), (node,), module_path(node))


def rewrite(module: GraphModule, match: Match) -> tuple[Node, ...]:
    (move,) = match.nodes
    weight = move.args[0]
    assert isinstance(weight, Node)
    moved = move.target(double(module, weight), *move.args[1:], **move.kwargs)  # pyright: ignore
    return (put(module, str(weight.meta.get("wanted", weight.target)), moved, like=weight),)
