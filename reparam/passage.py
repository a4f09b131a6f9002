"""What a per-channel affine map can pass through, and what becomes of it on the other side.

An operator f lets a map A pass if f(A(x)) = A'(f(x)) for some affine map A'. Operators that only move values carry the
map's numbers along. Averages pass it where it is one number within a window, since their weights sum to one. What is
linear in one input (a gate, a matrix product) passes a scale without a shift, and relu a scale that is not negative.

`carried` goes with the data, from A to A'; `pulled` against it, from A' to A.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch.fx import Node
from torch.fx.node import map_arg

from .affine import Affine, affine
from .graph import arguments, is_op, operator_name, shape
from .reshaping import BlockedError, regrouped

_SAME_PLACE = ("dropout", "contiguous", "clone", "alias", "detach", "feature_dropout")
_RESHAPE = ("flatten", "reshape", "view", "squeeze", "unsqueeze", "unflatten", "_unsafe_view")
_SPLITS = ("split", "split_with_sizes", "chunk", "unbind")
_AVERAGES = ("avg_pool1d", "avg_pool2d", "avg_pool3d")
_ADAPTIVE = ("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d")
_MAXIMA = ("max_pool1d", "max_pool2d", "max_pool3d")
_RESIZES = ("upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d")

_POOLED = {name: int(name[-2]) for name in (*_AVERAGES, *_ADAPTIVE, *_MAXIMA, *_RESIZES)}
"""How many axes at the end an operator works on."""


def carried(node: Node, before: Node, map_: Affine) -> Affine:
    """A', for a map on `before` that the operator `node` reads. BlockedError says why it cannot pass."""
    if list(node.all_input_nodes).count(before) != 1 or _times_read(node, before) != 1:
        raise BlockedError(f"{operator_name(node)} reads it twice")
    if operator_name(node) == "getitem":
        return _part(node, map_)
    given = arguments(node) if isinstance(node.target, torch._ops.OpOverload) else {}
    if is_op(node, "cat"):
        return _embedded(map_, shape(before), given["dim"], _place_in(given["tensors"], before), shape(node))
    if is_op(node, "mul", "div", "matmul", "bmm") and len(node.all_input_nodes) == 2:
        return _through_product(node, before, map_)
    if not (node.op == "call_function" and node.args and node.args[0] is before and len(node.all_input_nodes) == 1):
        raise BlockedError(f"it is also read by {operator_name(node)}, which needs the map itself")
    if is_op(node, *_SPLITS):
        return map_
    if is_op(node, *_RESHAPE):
        return _each(map_, lambda part: regrouped(part, shape(before), shape(node), operator_name(node)))
    if is_op(node, "permute"):
        return _each(map_, lambda part: part.permute(given["dims"]))
    if is_op(node, "transpose"):
        return _each(map_, lambda part: part.transpose(given["dim0"], given["dim1"]))
    if is_op(node, "expand") and len(shape(before)) == len(shape(node)):
        return map_
    if is_op(node, "mean") and given.get("dim") is not None:
        return _averaged(map_, given)
    _check_same_map(node, given, map_)
    return map_


def pulled(node: Node, map_: Affine) -> Iterator[tuple[Node, Affine]]:
    """Each input of `node` through which A' can go, with the map A on it that does the same; none if A' cannot pass."""
    before = node.args[0] if node.args else None
    if not isinstance(before, Node):
        return
    if operator_name(node) == "getitem":
        yield from _whole(node, before, map_)
        return
    if not isinstance(node.target, torch._ops.OpOverload):
        return
    given = arguments(node)
    if is_op(node, "mul", "div", "matmul", "bmm") and len(node.all_input_nodes) == 2:
        yield from _into_factors(node, map_)
    elif len(node.all_input_nodes) == 1:
        with_axes = _unmoved(node, given, before, map_)
        if with_axes is not None:
            yield before, with_axes


def _unmoved(node: Node, given: dict[str, Any], before: Node, map_: Affine) -> Affine | None:
    if is_op(node, *_SPLITS):
        return map_
    try:
        if is_op(node, *_RESHAPE):
            return _each(map_, lambda part: regrouped(part, shape(node), shape(before), operator_name(node)))
        if is_op(node, "permute"):
            back = [_axis(given["dims"], place, map_) for place in range(len(shape(node)))]
            return _each(map_, lambda part: part.permute(back))
        if is_op(node, "transpose"):
            return _each(map_, lambda part: part.transpose(given["dim0"], given["dim1"]))
        if is_op(node, "mean") and given.get("dim") is not None:
            return _before_mean(map_, given, before)
        _check_same_map(node, given, map_)
    except BlockedError:
        return None
    return map_


# Operators that leave the map as it is -------------------------------------------------------------------------------


def _check_same_map(node: Node, given: dict[str, Any], map_: Affine) -> None:
    """Raise BlockedError unless the map passes unchanged."""
    name = operator_name(node)
    if is_op(node, *_SAME_PLACE) and not given.get("train"):
        return
    if name in _POOLED:
        if any(axis >= map_.scale.dim() - _POOLED[name] for axis in map_.varies_along()):
            raise BlockedError(f"{name} mixes the places along which it varies")
        if is_op(node, *_AVERAGES) and map_.shifts and not _averages_exactly(given):
            raise BlockedError(f"{name} counts zero padding in, so it does not commute with a shift")
        if is_op(node, *_MAXIMA) and bool((map_.scale < 0).any()):
            raise BlockedError(f"{name} does not commute with a negative scale")
        return
    if is_op(node, "relu", "leaky_relu") and not map_.shifts and not bool((map_.scale < 0).any()):
        return
    raise BlockedError(f"it is read by {name}, which does not commute with it")


def _averages_exactly(given: dict[str, Any]) -> bool:
    """Every window is full, or partial windows are divided by what they hold: the weights of each mean sum to one."""
    padding = given["padding"]
    whole = not any(padding if isinstance(padding, (list, tuple)) else [padding]) and not given["ceil_mode"]
    return (whole or not given["count_include_pad"]) and not given.get("divisor_override")


# Operators that move it ----------------------------------------------------------------------------------------------


def _each(map_: Affine, move: Any) -> Affine:
    return affine(move(map_.scale), move(map_.shift))


def _axis(dims: list[int], place: int, map_: Affine) -> int:
    rank = map_.scale.dim()
    return [dim % rank for dim in dims].index(place)


def _averaged(map_: Affine, given: dict[str, Any]) -> Affine:
    axes = {axis % map_.scale.dim() for axis in given["dim"]} or set(range(map_.scale.dim()))
    if axes & set(map_.varies_along()):
        raise BlockedError("the channels themselves are averaged")
    if given["keepdim"]:
        return map_
    kept = [1 if length is None else length for length in _without(map_.scale.shape, axes)]
    return _each(map_, lambda part: part.reshape(kept))


def _without(lengths: torch.Size, axes: set[int]) -> list[int]:
    return [length for axis, length in enumerate(lengths) if axis not in axes]


def _before_mean(map_: Affine, given: dict[str, Any], before: Node) -> Affine:
    rank = len(shape(before))
    axes = {axis % rank for axis in given["dim"]} or set(range(rank))
    if given["keepdim"]:
        if axes & set(map_.varies_along()):
            raise BlockedError("the map varies along an averaged axis")
        return map_
    lengths = iter(map_.scale.shape)
    layout = [1 if axis in axes else next(lengths) for axis in range(rank)]
    return _each(map_, lambda part: part.reshape(layout))


# Parts and wholes ----------------------------------------------------------------------------------------------------


def _part(getitem: Node, map_: Affine) -> Affine:
    """The map on one part of a split value."""
    parts, place = getitem.args
    assert isinstance(parts, Node)
    axis, start, length = _extent(parts, place, map_.scale.dim())
    if map_.scale.shape[axis] != 1:
        map_ = _each(map_, lambda part: part.narrow(axis, start, length))
    return _each(map_, lambda part: part.squeeze(axis)) if is_op(parts, "unbind") else map_


def _whole(getitem: Node, parts: Node, map_: Affine) -> Iterator[tuple[Node, Affine]]:
    """The map on the split value that is this map on one part, and the identity on the others."""
    if not is_op(parts, *_SPLITS):
        return
    if is_op(parts, "unbind"):
        axis = arguments(parts)["dim"] % (map_.scale.dim() + 1)
        map_ = _each(map_, lambda part: part.unsqueeze(axis))
    axis, start, length = _extent(parts, getitem.args[1], map_.scale.dim())
    source = parts.args[0]
    assert isinstance(source, Node)
    total = shape(source)[axis]
    if isinstance(total, int) and isinstance(length, int):
        yield parts, _padded_with_identity(map_, axis, start, length, total)


def _extent(parts: Node, place: Any, rank: int) -> tuple[int, Any, Any]:
    """Axis, start and length of one part of a split value."""
    axis = arguments(parts)["dim"] % rank
    if is_op(parts, "unbind"):
        return axis, place, 1
    lengths = [part.shape[axis] for part in parts.meta["val"]]
    return axis, sum(lengths[:place]), lengths[place]


def _padded_with_identity(map_: Affine, axis: int, start: int, length: int, total: int) -> Affine:
    layout = list(map_.scale.shape)
    layout[axis] = total
    scale = torch.ones(layout, dtype=torch.float64)
    shift = torch.zeros(layout, dtype=torch.float64)
    scale.narrow(axis, start, length).copy_(map_.scale)
    shift.narrow(axis, start, length).copy_(map_.shift)
    return replace(map_, scale=scale, shift=shift)


def _place_in(tensors: Any, wanted: Node) -> list[Node]:
    """The tensors in front of the wanted one."""
    return list(tensors[: list(tensors).index(wanted)])


def _embedded(map_: Affine, own: tuple[Any, ...], dim: int, earlier: list[Node], whole: tuple[Any, ...]) -> Affine:
    axis = dim % len(whole)
    start = sum(shape(node)[axis] for node in earlier)
    if not all(isinstance(length, int) for length in (start, own[axis], whole[axis])):
        raise BlockedError("it is concatenated along an open axis")
    return _padded_with_identity(map_, axis, start, own[axis], whole[axis])


# Products ------------------------------------------------------------------------------------------------------------


def _through_product(node: Node, before: Node, map_: Affine) -> Affine:
    name = operator_name(node)
    if map_.shifts:
        raise BlockedError(f"it is read by {name}, which does not commute with a shift")
    if len(shape(before)) != len(shape(node)) or not isinstance(node.args[0], Node):
        raise BlockedError(f"{name} broadcasts it")
    left = node.args[0] is before
    if is_op(node, "div") and (not left or arguments(node).get("rounding_mode")):
        raise BlockedError("it is the divisor of a quotient")
    summed = map_.scale.dim() - (1 if left else 2)
    if is_op(node, "matmul", "bmm") and summed in map_.varies_along():
        raise BlockedError("it varies along the axis that a matrix product sums over")
    return map_


def _into_factors(node: Node, map_: Affine) -> Iterator[tuple[Node, Affine]]:
    """A scale of a product may go into either factor that has every axis along which it varies."""
    if map_.shifts or arguments(node).get("rounding_mode"):
        return
    for side in node.args[: 1 if is_op(node, "div") else 2]:
        if not isinstance(side, Node) or side.op == "get_attr" or len(shape(side)) != len(shape(node)):
            continue
        kept = set(range(map_.scale.dim()))
        if is_op(node, "matmul", "bmm"):
            kept.discard(map_.scale.dim() - (1 if side is node.args[0] else 2))
        if all(axis in kept and shape(side)[axis] == shape(node)[axis] for axis in map_.varies_along()):
            yield side, map_


def _times_read(node: Node, before: Node) -> int:
    found: list[Node] = []
    map_arg((node.args, node.kwargs), lambda read: found.append(read) or read)
    return found.count(before)
