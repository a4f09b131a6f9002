"""Writing elements at computed indices (MIL: `scatter_gather`).

`mode` says how an update meets what is there: add, sub, mul, div, max, min, or update, where the last of several
updates of one place stays. An index outside the axis is undefined by the documentation, and dropped here.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from .gather import positive
from .operator import Table

REDUCTIONS = {"add": "sum", "sub": "sum", "mul": "prod", "div": "prod", "max": "amax", "min": "amin"}


def scatter_nd(
    data: Tensor, indices: Tensor, updates: Tensor, mode: str = "add", validate_indices: bool = False
) -> Tensor:
    """`data` with `updates` at the places that the last axis of `indices` gives in the first axes of data."""
    depth = indices.shape[-1]
    places = [positive(indices[..., i], data.shape[i], validate_indices).reshape(-1) for i in range(depth)]
    return _scattered(data, places, updates, mode)


def scatter(
    data: Tensor,
    indices: Tensor,
    updates: Tensor,
    axis: int = 0,
    mode: str = "add",
    validate_indices: bool = False,
) -> Tensor:
    """`data` with slice i of `updates` along `axis` at indices[i]."""
    axis %= data.ndim
    index = positive(indices, data.shape[axis], validate_indices).reshape(-1)
    return _scattered(data.movedim(axis, 0), [index], updates.movedim(axis, 0), mode).movedim(0, axis)


def scatter_along_axis(
    data: Tensor,
    indices: Tensor,
    updates: Tensor,
    axis: int = 0,
    mode: str = "add",
    validate_indices: bool = False,
) -> Tensor:
    """result[i, indices[i, j, k], k] meets updates[i, j, k] for axis 1; `updates` has the shape of `indices`."""
    axis %= data.ndim
    index = positive(indices, data.shape[axis], validate_indices)
    grid = list(torch.meshgrid(*[torch.arange(n) for n in indices.shape], indexing="ij"))
    grid[axis] = index
    return _scattered(data, [g.reshape(-1) for g in grid], updates, mode)


def _scattered(data: Tensor, places: list[Tensor], updates: Tensor, mode: str) -> Tensor:
    """`data` with row r of `updates` at (places[0][r], places[1][r], …) of its first axes."""
    leading, rest = data.shape[: len(places)], data.shape[len(places) :]
    rows = data.reshape(prod(leading), prod(rest)).clone()
    flat = torch.zeros_like(places[0])
    valid = torch.ones_like(places[0], dtype=torch.bool)
    for place, n in zip(places, leading, strict=True):
        valid &= (place >= 0) & (place < n)
        flat = flat * n + place
    new = updates.reshape(len(flat), prod(rest))[valid].to(data.dtype)
    _combine(rows, flat[valid], new, mode)
    return rows.reshape(data.shape)


def _combine(rows: Tensor, index: Tensor, new: Tensor, mode: str) -> None:
    """Rows of `new` into `rows` (changed in place) at `index`."""
    if mode == "update":
        rows.numpy()[index.numpy()] = new.numpy()  # numpy keeps the last of repeated indices; torch leaves it open
        return
    if mode not in REDUCTIONS:
        raise ValueError(f"unknown scatter mode {mode!r}; known: update, {', '.join(REDUCTIONS)}")
    if mode == "div" and not rows.is_floating_point():
        for place, row in zip(index.tolist(), new, strict=True):
            rows[place] = torch.div(rows[place], row, rounding_mode="trunc")
        return
    new = -new if mode == "sub" else 1 / new if mode == "div" else new
    where = index[:, None].expand_as(new)
    rows.scatter_reduce_(0, where, new, REDUCTIONS[mode], include_self=True)


COMPUTED: Table = {"scatter": scatter, "scatter_along_axis": scatter_along_axis, "scatter_nd": scatter_nd}
MOVED: Table = {}
