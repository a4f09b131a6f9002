"""Picking elements by computed indices (MIL: `scatter_gather`).

A negative index counts from the end. From iOS17 on `validate_indices` makes an index outside the axis an error; without
it the result is undefined, and torch's own error is raised here.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .operator import Table


def positive(indices: Tensor, length: int, validate: bool = False) -> Tensor:
    """`indices` as int64 in 0..length-1; with `validate` a negative or too large one raises ValueError."""
    wide = indices.long()
    if validate and bool(((wide < 0) | (wide >= length)).any()):
        raise ValueError(f"an index is outside 0..{length - 1}")
    return torch.where(wide < 0, wide + length, wide)


def gather(x: Tensor, indices: Tensor, axis: int = 0, batch_dims: int = 0, validate_indices: bool = False) -> Tensor:
    """Slices of x along `axis`: shape x[:axis] + indices[batch_dims:] + x[axis+1:]; the first axes pair up."""
    axis %= max(1, x.ndim)
    index = positive(indices, x.shape[axis], validate_indices)
    if batch_dims == 0:
        return _take(x, index, axis)
    batch = x.shape[:batch_dims]
    rows = x.reshape(-1, *x.shape[batch_dims:])
    index = index.reshape(-1, *index.shape[batch_dims:])
    taken = [_take(row, i, axis - batch_dims) for row, i in zip(rows, index, strict=True)]
    result = torch.stack(taken)
    return result.reshape(*batch, *result.shape[1:])


def _take(x: Tensor, index: Tensor, axis: int) -> Tensor:
    taken = x.index_select(axis, index.reshape(-1))
    return taken.reshape((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]))


def gather_along_axis(x: Tensor, indices: Tensor, axis: int = 0, validate_indices: bool = False) -> Tensor:
    """result[i, j, k] = x[i, indices[i, j, k], k] for axis 1; shape of `indices`."""
    return x.gather(axis, positive(indices, x.shape[axis], validate_indices))


def gather_nd(x: Tensor, indices: Tensor, batch_dims: int = 0, validate_indices: bool = False) -> Tensor:
    """The last axis of `indices` is a place in the axes of x after the first `batch_dims`, which pair up."""
    depth = indices.shape[-1]
    places = [positive(indices[..., i], x.shape[batch_dims + i], validate_indices) for i in range(depth)]
    if batch_dims == 0:
        return x[tuple(places)]
    rows = x.reshape(-1, *x.shape[batch_dims:])
    index = torch.stack(places, -1)
    index = index.reshape(-1, *index.shape[batch_dims:])
    result = torch.stack([row[tuple(i.unbind(-1))] for row, i in zip(rows, index, strict=True)])
    return result.reshape(*x.shape[:batch_dims], *result.shape[1:])


COMPUTED: Table = {}
MOVED: Table = {"gather": gather, "gather_along_axis": gather_along_axis, "gather_nd": gather_nd}
