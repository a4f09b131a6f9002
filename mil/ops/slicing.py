"""Slices by begin and end, or begin and size (MIL: `tensor_transformation`; `slice_update` from iOS18 on)."""

from __future__ import annotations

import torch
from torch import Tensor

from .operator import Flags, Ints, Table


def slice_ranges(
    shape: Ints,
    begin: Ints,
    end: Ints,
    stride: Ints | None = None,
    begin_mask: Flags | None = None,
    end_mask: Flags | None = None,
    squeeze_mask: Flags | None = None,
) -> tuple[list[range], list[int]]:
    """The index range on every axis, and the axes that the squeeze mask drops.

    A set begin or end mask ignores that bound; a set squeeze mask takes the one element at `begin`.
    """
    rank = len(shape)
    off = (False,) * rank
    steps, no_begin, no_end = stride or (1,) * rank, begin_mask or off, end_mask or off
    dropped = [i for i, set_ in enumerate(squeeze_mask or off) if set_]
    ranges = []
    for i, n in enumerate(shape):
        if i in dropped:
            first = 0 if no_begin[i] else begin[i]
            first += n if first < 0 else 0
            if not 0 <= first < n:
                raise ValueError(f"index {begin[i]} is outside axis {i} of length {n}")
            ranges.append(range(first, first + 1))
        else:
            bounds = slice(None if no_begin[i] else begin[i], None if no_end[i] else end[i], steps[i])
            ranges.append(range(*bounds.indices(n)))
    return ranges, dropped


def slice_by_index(
    x: Tensor,
    begin: Ints,
    end: Ints,
    stride: Ints | None = None,
    begin_mask: Flags | None = None,
    end_mask: Flags | None = None,
    squeeze_mask: Flags | None = None,
) -> Tensor:
    """x[begin:end:stride] on every axis, negative indices counted from the end."""
    ranges, dropped = slice_ranges(tuple(x.shape), begin, end, stride, begin_mask, end_mask, squeeze_mask)
    for axis, wanted in enumerate(ranges):
        if wanted == range(x.shape[axis]):
            continue
        if wanted.step == 1:
            x = x.narrow(axis, wanted.start, len(wanted))
        else:
            x = x.index_select(axis, torch.tensor(wanted, dtype=torch.int64))
    return x.squeeze(dropped) if dropped else x


def slice_update(
    x: Tensor,
    update: Tensor,
    begin: Ints,
    end: Ints,
    stride: Ints | None = None,
    begin_mask: Flags | None = None,
    end_mask: Flags | None = None,
    squeeze_mask: Flags | None = None,
) -> Tensor:
    """x with the slice that `slice_by_index` would take replaced by `update`."""
    ranges, dropped = slice_ranges(tuple(x.shape), begin, end, stride, begin_mask, end_mask, squeeze_mask)
    for axis in dropped:
        update = update.unsqueeze(axis)
    result = x.clone()
    index = torch.meshgrid(*[torch.tensor(r, dtype=torch.int64) for r in ranges], indexing="ij")
    result[index] = update.expand([len(r) for r in ranges])
    return result


def size_ranges(shape: Ints, begin: Ints, size: Ints) -> list[range]:
    """The index range on every axis: size -1 means to the end, a negative begin counts from the end."""
    ranges = []
    for n, first, length in zip(shape, begin, size, strict=True):
        start = first + n if first < 0 else first
        ranges.append(range(start, n if length == -1 else start + length))
    return ranges


def slice_by_size(x: Tensor, begin: Ints, size: Ints) -> Tensor:
    """`size` elements from `begin` on every axis; size -1 means to the end, a negative begin counts from the end."""
    for axis, wanted in enumerate(size_ranges(tuple(x.shape), begin, size)):
        x = x.narrow(axis, wanted.start, len(wanted))
    return x


COMPUTED: Table = {}
MOVED: Table = {"slice_by_index": slice_by_index, "slice_update": slice_update, "slice_by_size": slice_by_size}
