"""What is computed from stored numbers alone is computed once, now: indexed bias tables, grids, scales of scales.

Exact, for every run would compute the same. Only results of a floating type are stored, each with all that leads to it;
none that is larger than `LARGEST`, or than what it is computed from. Random numbers are no constants, and what somebody
writes to is none either.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from .graph import constant, dtype, module_path, mutates, put
from .proof import run_region
from .rewrite import Match

NAME = "constants"

LARGEST = 2**20
"""Bytes that a result may have even where it is larger than what it is computed from."""


def find(module: GraphModule) -> Iterator[Match]:
    made: dict[Node, int] = {}  # what is computed from stored numbers alone → bytes of those
    for node in module.graph.nodes:
        weight = constant(module, node)
        if weight is not None and not any(mutates(user) for user in node.users):
            made[node] = weight.numel() * weight.element_size()
        elif _is_settled(node) and all(read in made for read in node.all_input_nodes):
            made[node] = sum(made[read] for read in node.all_input_nodes)
    for node in made:
        value = node.meta["val"]
        if node.op == "get_attr" or not _is_stored_as(value) or not _is_needed(node, made):
            continue
        if value.numel() * value.element_size() <= max(made[node], LARGEST):
            nodes = _alone(node, made)
            if all(read.op == "get_attr" or read in nodes for inner in nodes for read in inner.all_input_nodes):
                yield Match(nodes, (node,), module_path(node))


def _is_settled(node: Node) -> bool:
    """A call that gives the same whenever it is made."""
    if node.op != "call_function" or mutates(node):
        return False
    return not (
        isinstance(node.target, torch._ops.OpOverload) and torch.Tag.nondeterministic_seeded in node.target.tags
    )


def _is_stored_as(value: object) -> bool:
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return False
    return all(isinstance(length, int) for length in value.shape)


def _is_needed(node: Node, made: dict[Node, int]) -> bool:
    """Whether several read it, or one who is no constant himself; else it is stored with what is made of it."""
    return len(node.users) > 1 or any(user not in made or not _is_stored_as(user.meta["val"]) for user in node.users)


def _alone(node: Node, made: dict[Node, int]) -> tuple[Node, ...]:
    """The node with all calls in front of it that nobody else needs."""
    gone = {node}
    for before in reversed(list(made)):
        if before.op == "call_function" and before.users and all(user in gone for user in before.users):
            gone.add(before)
    return tuple(sorted(gone))


def rewrite(module: GraphModule, match: Match) -> tuple[Node, ...]:
    (result,) = match.outputs
    (value,) = run_region(module, {}, (result,))
    like = next((read for read in _stored(match) if dtype(read) == dtype(result)), result)
    name = str(like.meta.get("wanted", like.target)) if like.op == "get_attr" else result.name
    return (put(module, name, value, like=like),)


def _stored(match: Match) -> list[Node]:
    return [read for node in match.nodes for read in node.all_input_nodes if read.op == "get_attr"]
