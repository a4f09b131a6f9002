"""What a per-channel affine map can pass through: the operators that commute with it, and where the channels go."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.fx import Node

from .graph import arguments, is_op, operator_name, shape

_NEUTRAL = ("dropout", "contiguous", "clone", "alias", "detach", "feature_dropout")
_POOLING = ("avg_pool1d", "avg_pool2d", "avg_pool3d")
_ADAPTIVE = ("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d")
_RESHAPE = ("flatten", "reshape", "view", "squeeze", "unsqueeze")


class BlockedError(Exception):
    """The map cannot pass; the message says why."""


def axis_after(node: Node, before: Node, axis: int) -> int:
    """Where the channels are after an operator that commutes with the map; BlockedError if it does not."""
    if not (node.op == "call_function" and node.args and node.args[0] is before and len(node.all_input_nodes) == 1):
        raise BlockedError(f"it is also read by {operator_name(node)}, which needs the map itself")
    given = arguments(node) if isinstance(node.target, torch._ops.OpOverload) else {}
    if is_op(node, *_NEUTRAL) and not given.get("train"):
        return axis
    if is_op(node, "mean") and given.get("dim") is not None:
        return _axis_after_mean(given, before, axis)
    if is_op(node, *_ADAPTIVE) or (is_op(node, *_POOLING) and _averages_exactly(given)):
        return _axis_after_pooling(node, before, axis)
    if is_op(node, "permute"):
        return [place % len(shape(before)) for place in given["dims"]].index(axis)
    if is_op(node, "transpose"):
        swap = {given["dim0"] % len(shape(before)): given["dim1"], given["dim1"] % len(shape(before)): given["dim0"]}
        return swap.get(axis, axis) % len(shape(before))
    if is_op(node, *_RESHAPE):
        return _axis_after_reshape(shape(before), shape(node), axis, operator_name(node))
    raise BlockedError(f"it is read by {operator_name(node)}, which does not commute with it")


def _axis_after_mean(given: dict[str, Any], before: Node, axis: int) -> int:
    rank = len(shape(before))
    averaged = {place % rank for place in given["dim"]}
    if axis in averaged or not averaged:
        raise BlockedError("the channels themselves are averaged")
    return axis if given["keepdim"] else axis - sum(place < axis for place in averaged)


def _axis_after_pooling(node: Node, before: Node, axis: int) -> int:
    pooled = int(operator_name(node)[-2])  # the 2 of avg_pool2d
    if axis != len(shape(before)) - pooled - 1:
        raise BlockedError("its channels are pooled over")
    return axis


def _averages_exactly(given: dict[str, Any]) -> bool:
    """Every window is full, or partial windows are divided by what they hold: the weights of each mean sum to one."""
    padding = given["padding"]
    whole = not any(padding if isinstance(padding, (list, tuple)) else [padding]) and not given["ceil_mode"]
    return (whole or not given["count_include_pad"]) and not given.get("divisor_override")


def _axis_after_reshape(old: tuple[Any, ...], new: tuple[Any, ...], axis: int, name: str) -> int:
    """The axis that still holds exactly the channels: as long as before, with as much behind it."""
    behind = old[axis + 1 :]
    for place in range(len(new)):
        kept = (new[place], *new[place + 1 :], *behind)
        fixed = all(isinstance(length, int) for length in kept)
        if fixed and new[place] == old[axis] and math.prod(new[place + 1 :]) == math.prod(behind):
            return place
    raise BlockedError(f"{name} mixes the channels with other axes")
