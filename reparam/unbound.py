"""Parts that are taken one by one along an axis of their own are split along the next axis instead.

With y of shape (…, n, m, …), the part y[…, i, :, …] is the i-th of n equal parts of the same numbers as (…, n·m, …). So
the usual way to queries, keys and values, reshape to (B, N, 3, h, d), permute to (3, B, h, N, d) and unbind, becomes
reshape to (B, N, 3h, d), permute to (B, 3h, N, d) and split. Converters write unbind as a split and n squeezes, or as
n gathers.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.fx import GraphModule, Node

from .graph import arguments, call, is_op, module_path, only_user, shape
from .rewrite import Match

NAME = "unbound"

_RESHAPES = ("reshape", "view", "unflatten")


@dataclass(frozen=True)
class _Parts:
    """What is reshaped, to which shape; the order in which its axes come then, and along which it is split."""

    source: Node
    lengths: list[int]
    order: list[int]
    axis: int
    size: int


def find(module: GraphModule) -> Iterator[Match]:
    for whole in module.graph.nodes:
        parts = _taken(whole)
        plan = _plan(whole, parts) if parts else None
        if plan is not None:
            outputs = tuple(parts[place] for place in sorted(parts))
            moves = [whole, *([] if is_op(whole, *_RESHAPES) else [whole.args[0]])]
            between = [user for user in whole.users if user not in outputs]
            yield Match(tuple(sorted({*moves, *between, *outputs})), outputs, module_path(whole), plan=plan)


def _taken(whole: Node) -> dict[int, Node]:
    """Place → part, where all readers of a value take parts along one axis, and every part is taken once."""
    if not is_op(whole, "permute", *_RESHAPES) or not whole.users:
        return {}
    reader = only_user(whole)
    if is_op(reader, "unbind"):
        assert reader is not None
        takers, places = list(reader.users), [user.args[1] for user in reader.users]
    elif all(is_op(user, "select") and arguments(user)["dim"] == _axis(whole) for user in whole.users):
        takers, places = list(whole.users), [arguments(user)["index"] for user in whole.users]
    else:
        return {}
    count = shape(whole)[_axis(whole)]
    if not isinstance(count, int):
        return {}
    found = {place % count: taker for place, taker in zip(places, takers, strict=True) if isinstance(place, int)}
    return found if len(found) == len(takers) == count else {}


def _axis(whole: Node) -> int:
    """The axis along which the first reader takes its part."""
    return arguments(next(iter(whole.users)))["dim"] % len(shape(whole))


def _plan(whole: Node, parts: dict[int, Node]) -> _Parts | None:
    grown = whole if is_op(whole, *_RESHAPES) else whole.args[0]
    if not (isinstance(grown, Node) and is_op(grown, *_RESHAPES)):
        return None
    if grown is not whole and only_user(grown) is not whole:
        return None
    order = list(range(len(shape(grown))))
    if grown is not whole:
        order = [axis % len(order) for axis in arguments(whole)["dims"]]
    taken = order[_axis(whole)]
    lengths = [-1 if isinstance(length, torch.SymInt) else length for length in shape(grown)]
    if taken + 1 == len(order) or lengths.count(-1) > 1 or lengths[taken + 1] == -1:
        return None
    source = grown.args[0]
    assert isinstance(source, Node)
    merged = [*lengths[:taken], lengths[taken] * lengths[taken + 1], *lengths[taken + 2 :]]
    left = [axis - (axis > taken) for axis in order if axis != taken]
    return _Parts(source, merged, left, left.index(taken), lengths[taken + 1])


def rewrite(module: GraphModule, match: Match) -> tuple[Node, ...]:
    plan = match.plan
    assert isinstance(plan, _Parts)
    like = match.nodes[0]
    with module.graph.inserting_before(min(match.outputs)):
        value = call(module, torch.ops.aten.reshape.default, (plan.source, plan.lengths), like=like)
        if plan.order != sorted(plan.order):
            value = call(module, torch.ops.aten.permute.default, (value, plan.order), like=like)
        split = call(module, torch.ops.aten.split.Tensor, (value, plan.size, plan.axis), like=like)
        return tuple(
            call(module, operator.getitem, (split, place), like=output) for place, output in enumerate(match.outputs)
        )
