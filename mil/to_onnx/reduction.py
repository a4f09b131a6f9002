"""Reductions, sorting and cumulative sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..ops.operator import Ints
from .graph import Graph, Symbol

REDUCTIONS = {
    "reduce_sum": "ReduceSum",
    "reduce_mean": "ReduceMean",
    "reduce_max": "ReduceMax",
    "reduce_min": "ReduceMin",
    "reduce_prod": "ReduceProd",
    "reduce_l1_norm": "ReduceL1",
    "reduce_l2_norm": "ReduceL2",
    "reduce_sum_square": "ReduceSumSquare",
    "reduce_log_sum": "ReduceLogSum",
    "reduce_log_sum_exp": "ReduceLogSumExp",
}


def reduction(kind: str) -> Callable[..., str]:
    """The lowering of a reduction that ONNX has under the name `kind`."""

    def lower(g: Graph, x: Symbol, axes: Ints | None = None, keep_dims: bool = False) -> str:
        over = g.ints(*(range(x.ndim) if axes is None else axes))
        return g.node(kind, [x.name, over], keepdims=int(keep_dims))

    return lower


def reduce_argmax(g: Graph, x: Symbol, axis: int = -1, keep_dims: bool = False, output_dtype: str = "int32") -> str:
    return g.node("ArgMax", [x.name], axis=axis, keepdims=int(keep_dims))


def reduce_argmin(g: Graph, x: Symbol, axis: int = -1, keep_dims: bool = False, output_dtype: str = "int32") -> str:
    return g.node("ArgMin", [x.name], axis=axis, keepdims=int(keep_dims))


def topk(
    g: Graph,
    x: Symbol,
    k: int = 1,
    axis: int = -1,
    ascending: bool = False,
    sort: bool = True,
    return_indices: bool = True,
    output_indices_dtype: str = "int32",
) -> list[str]:
    count = x.shape[axis] if k == -1 else k
    found = g.nodes_with("TopK", [x.name, g.ints(count)], 2, axis=axis, largest=int(not ascending))
    return found if return_indices else found[:1]


def argsort(g: Graph, x: Symbol, axis: int = -1, ascending: bool = False) -> str:
    return topk(g, x, -1, axis, ascending)[1]


def cumsum(g: Graph, x: Symbol, axis: int = 0, exclusive: bool = False, reverse: bool = False) -> str:
    along = g.constant(axis, np.int32)
    return g.node("CumSum", [x.name, along], exclusive=int(exclusive), reverse=int(reverse))


LOWERINGS: dict[str, Any] = {
    **{name: reduction(kind) for name, kind in REDUCTIONS.items()},
    "reduce_argmax": reduce_argmax,
    "reduce_argmin": reduce_argmin,
    "topk": topk,
    "argsort": argsort,
    "cumsum": cumsum,
}
