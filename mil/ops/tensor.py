"""Making tensors, sorting, counting (MIL: `tensor_operation`)."""

from __future__ import annotations

import torch
from torch import Tensor

from .operator import Ints, Number, Table, bounded


def fill(shape: Ints, value: Tensor | None = None) -> Tensor:
    """A tensor of `shape` whose every element is `value` (default 0.0)."""
    if value is None:
        return torch.zeros(bounded(shape))
    return torch.full(bounded(shape), value.item(), dtype=value.dtype)


def fill_like(ref_tensor: Tensor, value: Tensor | None = None) -> Tensor:
    """`fill` with the shape of `ref_tensor`."""
    return fill(tuple(ref_tensor.shape), value)


def range_1d(end: Number, start: Number, step: Number) -> Tensor:
    """start, start + step, … below `end` (above it for a negative step)."""
    if step == 0:
        raise ValueError("a range cannot have step 0")
    bounded((max(0, int((end - start) / step)),))
    exact = torch.float64 if any(isinstance(v, float) for v in (end, start, step)) else torch.int64
    return torch.arange(start, end, step, dtype=exact)


def non_zero(x: Tensor) -> Tensor:
    """The places of elements other than 0, one row each, in row-major order."""
    return torch.nonzero(x)


def band(rows: int, columns: int, lower: int, upper: int) -> Tensor:
    """The mask (rows, columns) of `lower` diagonals below and `upper` above the main one; -1 keeps all."""
    row, column = torch.arange(rows)[:, None], torch.arange(columns)[None]
    return ((lower < 0) | (row - column <= lower)) & ((upper < 0) | (column - row <= upper))


def band_part(x: Tensor, lower: int = -1, upper: int = -1) -> Tensor:
    """x times the band of its last two axes: a product by definition, so an infinity outside the band gives NaN."""
    return x * band(x.shape[-2], x.shape[-1], lower, upper).to(x.dtype)


def cumsum(x: Tensor, axis: int = 0, exclusive: bool = False, reverse: bool = False) -> Tensor:
    """Sums along `axis` up to each element, itself left out when `exclusive`, from the end when `reverse`."""
    forward = x.flip(axis) if reverse else x
    total = forward.cumsum(axis)
    if exclusive:
        total = torch.cat([torch.zeros_like(total.narrow(axis, 0, 1)), total.narrow(axis, 0, x.shape[axis] - 1)], axis)
    return total.flip(axis) if reverse else total


def one_hot(
    indices: Tensor,
    one_hot_vector_size: int,
    axis: int = -1,
    on_value: Tensor | None = None,
    off_value: Tensor | None = None,
) -> Tensor:
    """`on_value` (default 1) at each index along a new axis, `off_value` (default 0) elsewhere."""
    bounded((*indices.shape, one_hot_vector_size))
    hot = (indices.long()[..., None] == torch.arange(one_hot_vector_size)).movedim(-1, axis)
    on = torch.tensor(1) if on_value is None else on_value
    off = torch.tensor(0) if off_value is None else off_value
    return torch.where(hot, on, off)


def topk(
    x: Tensor,
    k: int = 1,
    axis: int = -1,
    ascending: bool = False,
    sort: bool = True,
    return_indices: bool = True,
    output_indices_dtype: str = "int32",
) -> list[Tensor]:
    """The k largest (smallest when `ascending`) elements along `axis`, in order, and their indices; k = -1 is all."""
    values, indices = torch.sort(x, dim=axis, descending=not ascending, stable=True)
    count = x.shape[axis] if k == -1 else k
    results = [values.narrow(axis, 0, count), indices.narrow(axis, 0, count)]
    return results if return_indices else results[:1]


def argsort(x: Tensor, axis: int = -1, ascending: bool = False) -> Tensor:
    """The indices that sort x along `axis`, equal elements in their order."""
    return torch.sort(x, dim=axis, descending=not ascending, stable=True)[1]


COMPUTED: Table = {"band_part": band_part, "cumsum": cumsum, "fill": fill, "fill_like": fill_like, "range_1d": range_1d}
MOVED: Table = {"argsort": argsort, "non_zero": non_zero, "one_hot": one_hot, "topk": topk}
