"""Parts of a split value that are all reshaped or permuted alike: the whole is, once, and split afterwards.

With the parts xᵢ of x along an axis, move(xᵢ) are the parts of move(x) along the axis to which the move brings that
axis: a permutation moves it, and a reshape leaves it, if what lies in front of it and what lies behind it are each
reshaped apart. Attention that makes q, k and v in one layer and then flattens each is the usual place.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from .graph import arguments, axis_order, call, is_op, module_path, only_user, shape, with_arguments
from .rewrite import Match

NAME = "late-split"

_SPLITS = ("split", "split_with_sizes", "chunk")
_RESHAPES = ("reshape", "view", "flatten", "unflatten", "squeeze", "unsqueeze", "_unsafe_view")


@dataclass(frozen=True)
class _Move:
    """The one move that takes the place of all: operator and arguments behind the value, and where the axis goes."""

    target: Any
    arguments: tuple[Any, ...]
    axis: int


def find(module: GraphModule) -> Iterator[Match]:
    for split in module.graph.nodes:
        if not is_op(split, *_SPLITS):
            continue
        parts = sorted(split.users, key=lambda part: part.args[1])
        moves = [only_user(part) for part in parts]
        if len(parts) != len(split.meta["val"]) or len(parts) < 2 or None in moves or len({*moves}) != len(moves):
            continue
        plan = _common(split, [part for part in moves if part is not None])
        if plan is not None:
            outputs = tuple(move for move in moves if move is not None)
            yield Match(tuple(sorted((split, *parts, *outputs))), outputs, module_path(split), plan=plan)


def _common(split: Node, moves: list[Node]) -> _Move | None:
    axis = arguments(split)["dim"] % len(shape(moves[0].all_input_nodes[0]))
    if any(len(move.all_input_nodes) != 1 for move in moves):
        return None
    if all(is_op(move, "permute", "transpose") for move in moves):
        orders = [axis_order(move) for move in moves]
        if any(order != orders[0] for order in orders):
            return None
        return _Move(torch.ops.aten.permute.default, (orders[0],), orders[0].index(axis))
    if all(is_op(move, *_RESHAPES) for move in moves):
        return _reshape(split, moves, axis)
    return None


def _reshape(split: Node, moves: list[Node], axis: int) -> _Move | None:
    """The reshape of the whole, if what is in front of the axis, or behind it, stays as it is in all parts."""
    source = split.args[0]
    assert isinstance(source, Node)
    total = shape(source)[axis]
    before = [shape(move.all_input_nodes[0]) for move in moves]
    after = [shape(move) for move in moves]
    if not all(isinstance(length, int) for lengths in (*before, *after, (total,)) for length in lengths):
        return None
    behind = len(before[0]) - axis
    for place in (axis, len(after[0]) - behind):
        if not 0 <= place < len(after[0]) or any(len(new) != len(after[0]) for new in after):
            continue
        front, back = after[0][:place], after[0][place + 1 :]
        kept = (place == axis and front == before[0][:axis]) or back == before[0][axis + 1 :]
        alike = all(
            (*new[:place], *new[place + 1 :]) == (*front, *back) and new[place] == old[axis]
            for new, old in zip(after, before, strict=True)
        )
        if kept and alike:
            return _Move(torch.ops.aten.reshape.default, ([*front, total, *back],), place)
    return None


def rewrite(module: GraphModule, match: Match) -> tuple[Node, ...]:
    split, plan = match.nodes[0], match.plan
    assert isinstance(plan, _Move)
    source = split.args[0]
    assert isinstance(source, Node)
    assert isinstance(source.meta["val"], Tensor)
    with module.graph.inserting_before(split):
        moved = call(module, plan.target, (source, *plan.arguments), like=match.outputs[0])
        parts = call(module, split.target, with_arguments(split, self=moved, dim=plan.axis), like=split)
        return tuple(
            call(module, operator.getitem, (parts, place), like=output) for place, output in enumerate(match.outputs)
        )
