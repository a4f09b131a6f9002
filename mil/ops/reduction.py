"""Reductions (MIL: `reduction`) over `axes` (default: all); reduced axes are dropped unless `keep_dims`.

Integers are summed in 64 bits; the declared type of the result then applies.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .operator import Ints, Table


def reduce_sum(x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    """sum(x)."""
    x, dims, keep = _prepared(x, axes, keep_dims)
    return _wide(x).sum(dims, keep)


def reduce_mean(x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    """sum(x) / n."""
    x, dims, keep = _prepared(x, axes, keep_dims)
    return (x if x.is_floating_point() else x.to(torch.float64)).mean(dims, keep)


def reduce_prod(x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    """The product of all elements."""
    x, dims, keep = _prepared(x, axes, keep_dims)
    for axis in sorted(dims, reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


def reduce_max(x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    """The largest element."""
    x, dims, keep = _prepared(x, axes, keep_dims)
    return x.amax(dims, keep)


def reduce_min(x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    """The smallest element."""
    x, dims, keep = _prepared(x, axes, keep_dims)
    return x.amin(dims, keep)


def reduce_l1_norm(x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    """sum(|x|)."""
    return reduce_sum(x.abs(), axes, keep_dims)


def reduce_l2_norm(x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    """sqrt(sum(x * x))."""
    return reduce_sum(x * x, axes, keep_dims).sqrt()


def reduce_sum_square(x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    """sum(x * x)."""
    return reduce_sum(x * x, axes, keep_dims)


def reduce_log_sum(x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    """log(sum(x))."""
    return reduce_sum(x, axes, keep_dims).log()


def reduce_log_sum_exp(x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    """log(sum(exp(x))), computed without overflow."""
    x, dims, keep = _prepared(x, axes, keep_dims)
    return torch.logsumexp(x, dims, keep)


def reduce_argmax(x: Tensor, axis: int = -1, keep_dims: bool = False, output_dtype: str = "int32") -> Tensor:
    """The index of the largest element along `axis`, the first of equals."""
    return x.argmax(axis, keep_dims)


def reduce_argmin(x: Tensor, axis: int = -1, keep_dims: bool = False, output_dtype: str = "int32") -> Tensor:
    """The index of the smallest element along `axis`, the first of equals."""
    return x.argmin(axis, keep_dims)


def _prepared(x: Tensor, axes: Ints | None, keep_dims: bool) -> tuple[Tensor, list[int], bool]:
    """x of rank at least 1, its axes as positive numbers, and whether they stay."""
    if x.ndim == 0:
        return x.reshape(1), [0], False
    return x, [a % x.ndim for a in (range(x.ndim) if axes is None else axes)], keep_dims


def _wide(x: Tensor) -> Tensor:
    return x if x.is_floating_point() else x.to(torch.int64)


COMPUTED: Table = {
    "reduce_sum": reduce_sum,
    "reduce_mean": reduce_mean,
    "reduce_prod": reduce_prod,
    "reduce_l1_norm": reduce_l1_norm,
    "reduce_l2_norm": reduce_l2_norm,
    "reduce_sum_square": reduce_sum_square,
    "reduce_log_sum": reduce_log_sum,
    "reduce_log_sum_exp": reduce_log_sum_exp,
    "reduce_argmax": reduce_argmax,
    "reduce_argmin": reduce_argmin,
}
MOVED: Table = {"reduce_max": reduce_max, "reduce_min": reduce_min}
