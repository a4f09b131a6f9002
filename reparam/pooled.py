"""A global average that is flattened afterwards is a mean that keeps no axes: one operator instead of two."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.fx import GraphModule, Node

from .graph import arguments, call, is_op, module_path, only_user, shape
from .rewrite import Match

NAME = "pooled-flat"

_POOLS = {"adaptive_avg_pool1d": 1, "adaptive_avg_pool2d": 2, "adaptive_avg_pool3d": 3}
_FLATTENS = ("flatten", "reshape", "view", "squeeze")


def find(module: GraphModule) -> Iterator[Match]:
    for pool in module.graph.nodes:
        flat = only_user(pool)
        axes = _averaged(pool)
        if axes and flat is not None and is_op(flat, *_FLATTENS) and _drops(flat, axes, shape(pool)):
            yield Match((pool, flat), (flat,), module_path(pool), plan=axes)


def _averaged(node: Node) -> list[int]:
    """The last axes of a value, if this is their mean and has them still, with length one."""
    name = next((name for name in _POOLS if is_op(node, name)), None)
    if name is not None:
        axes = list(range(-_POOLS[name], 0))
        return axes if all(shape(node)[axis] == 1 for axis in axes) else []
    given = arguments(node) if is_op(node, "mean") else {}
    if not given.get("dim") or not given["keepdim"] or given["dtype"] is not None:
        return []
    rank = len(shape(node))
    axes = sorted(axis % rank - rank for axis in given["dim"])
    return axes if axes == list(range(-len(axes), 0)) else []


def _drops(flat: Node, axes: list[int], before: tuple[int | torch.SymInt, ...]) -> bool:
    """Whether just these axes are gone, for every size of an open one."""
    kept = before[: -len(axes)]
    return len(shape(flat)) == len(kept) and all(
        str(one) == str(other) for one, other in zip(shape(flat), kept, strict=True)
    )


def rewrite(module: GraphModule, match: Match) -> tuple[Node, ...]:
    pool, flat = match.nodes
    return (call(module, torch.ops.aten.mean.dim, (pool.args[0], match.plan), like=flat),)
