"""Operators that rearrange a tensor without changing a value (MIL: `tensor_transformation`, `tensor_operation`)."""

from __future__ import annotations

from itertools import zip_longest
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from .operator import Flags, Ints, Table, Tensors, bounded


def reshape(x: Tensor, shape: Ints) -> Tensor:
    """x in `shape`, one entry of which may be -1; 0 copies the entry of x at the same place from the front."""
    if 0 in shape and x.numel():
        shape = tuple(x.shape[i] if n == 0 else n for i, n in enumerate(shape))
    return x.reshape(shape)


def reshape_from_the_back(x: Tensor, shape: Ints) -> Tensor:
    """From iOS17 on: 0 copies the entry of x at the same place counted from the back, or is 1 beyond its rank."""
    if 0 in shape:
        aligned = zip_longest(reversed(shape), reversed(x.shape[-len(shape) :]), fillvalue=1)
        shape = tuple(n if want == 0 else want for want, n in aligned)[::-1]
    return x.reshape(shape)


def reshape_like(x: Tensor, ref_tensors: Tensors, begins: Ints, ends: Ints, end_masks: Flags) -> Tensor:
    """x in the shape joined from `ref.shape[begin:end]` of each reference; a set end mask means to its last axis."""
    parts = zip(ref_tensors, begins, ends, end_masks, strict=True)
    shape = [n for ref, begin, end, mask in parts for n in ref.shape[begin : None if mask else end]]
    return x.reshape(shape)


def transpose(x: Tensor, perm: Ints) -> Tensor:
    """Axis i of the result is axis perm[i] of x."""
    return x.permute(perm)


def expand_dims(x: Tensor, axes: Ints) -> Tensor:
    """x with axes of length 1 at the places `axes` of the result."""
    rank = x.ndim + len(axes)
    for axis in sorted(a % rank for a in axes):
        x = x.unsqueeze(axis)
    return x


def squeeze(x: Tensor, axes: Ints | None = None) -> Tensor:
    """x without the axes `axes`, which have length 1 (default: all such)."""
    return x.squeeze() if axes is None else x.squeeze(axes)


def flatten2d(x: Tensor, axis: int = 1) -> Tensor:
    """x as a matrix: the axes before `axis` by those from it on."""
    split = axis + x.ndim if axis < 0 else axis
    return x.reshape(prod(x.shape[:split]), prod(x.shape[split:]))


def concat(values: Tensors, axis: int, interleave: bool = False) -> Tensor:
    """The values joined along `axis`; interleaved, their slices alternate. Scalars count as vectors of one."""
    values = tuple(v if v.ndim else v.reshape(1) for v in values)
    if not interleave:
        return torch.cat(values, axis)
    axis %= values[0].ndim
    return torch.stack(values, axis + 1).flatten(axis, axis + 1)


def stack(values: Tensors, axis: int) -> Tensor:
    """The values joined along a new axis."""
    return torch.stack(values, axis)


def split(x: Tensor, axis: int, num_splits: int | None = None, split_sizes: Ints | None = None) -> list[Tensor]:
    """x cut along `axis` into `split_sizes`, or into `num_splits` equal parts."""
    if split_sizes is not None:
        return list(x.split(list(split_sizes), axis))
    if not num_splits or x.shape[axis] % num_splits:
        raise ValueError(f"cannot split {x.shape[axis]} elements into {num_splits} equal parts")
    return list(x.split(x.shape[axis] // num_splits, axis))


def tile(x: Tensor, reps: Ints) -> Tensor:
    """x repeated reps[i] times along axis i."""
    bounded(tuple(n * r for n, r in zip(x.shape, reps, strict=True)))
    return x.repeat(reps)


def pad(x: Tensor, pad: Ints, mode: str = "constant", constant_val: float = 0.0) -> Tensor:
    """x with (before, after) elements added on its last len(pad) / 2 axes.

    `constant` adds `constant_val`, `replicate` the edge, `reflect` the mirror image without the edge.
    """
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]
    bounded(tuple(n + sum(p) for n, p in zip(x.shape[-len(pairs) :], pairs, strict=False)) if pairs else ())
    if mode == "constant":
        return F.pad(x, [n for pair in reversed(pairs) for n in pair], value=constant_val)
    for axis, (before, after) in enumerate(pairs, x.ndim - len(pairs)):
        if before or after:
            x = x.index_select(axis, _edge_index(x.shape[axis], before, after, mode))
    return x


def _edge_index(n: int, before: int, after: int, mode: str) -> Tensor:
    """For each place of the padded axis the place in 0..n-1 that it repeats."""
    index = torch.arange(-before, n + after)
    if mode == "replicate":
        return index.clamp(0, n - 1)
    if mode != "reflect":
        raise ValueError(f"unknown pad mode {mode!r}; known: constant, reflect, replicate")
    index = index.abs()
    return torch.where(index >= n, 2 * (n - 1) - index, index)


def crop(x: Tensor, crop_height: Ints, crop_width: Ints) -> Tensor:
    """x (N, C, H, W) without the first and last rows and columns that the pairs count."""
    (top, bottom), (left, right) = crop_height, crop_width
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]


def pixel_shuffle(x: Tensor, upscale_factor: int) -> Tensor:
    """(N, C*r*r, H, W) → (N, C, H*r, W*r), channels outermost (Shi et al., arXiv 1609.05158)."""
    return F.pixel_shuffle(x, upscale_factor)


def pixel_unshuffle(x: Tensor, downscale_factor: int) -> Tensor:
    """The inverse of pixel_shuffle."""
    return F.pixel_unshuffle(x, downscale_factor)


def depth_to_space(x: Tensor, block_size: int) -> Tensor:
    """(N, C*b*b, H, W) → (N, C, H*b, W*b), the block's place outermost in the channels."""
    b, (n, c, h, w) = block_size, x.shape
    blocks = x.reshape(n, b, b, c // (b * b), h, w).permute(0, 3, 4, 1, 5, 2)
    return blocks.reshape(n, c // (b * b), h * b, w * b)


def space_to_depth(x: Tensor, block_size: int) -> Tensor:
    """The inverse of depth_to_space."""
    b, (n, c, h, w) = block_size, x.shape
    return x.reshape(n, c, h // b, b, w // b, b).permute(0, 3, 5, 1, 2, 4).reshape(n, c * b * b, h // b, w // b)


def space_to_batch(x: Tensor, block_shape: Ints, paddings: Ints) -> Tensor:
    """x (N, C, H, W), padded, in blocks: (N*bh*bw, C, H/bh, W/bw), the place in the block outermost in the batch."""
    (bh, bw), (top, bottom, left, right) = block_shape, paddings
    x = F.pad(x, (left, right, top, bottom))
    n, c, h, w = x.shape
    blocks = x.reshape(n, c, h // bh, bh, w // bw, bw).permute(3, 5, 0, 1, 2, 4)
    return blocks.reshape(n * bh * bw, c, h // bh, w // bw)


def batch_to_space(x: Tensor, block_shape: Ints, crops: Ints) -> Tensor:
    """The inverse of space_to_batch, then without the rows and columns that `crops` counts."""
    (bh, bw), (top, bottom, left, right) = block_shape, crops
    n, c, h, w = x.shape
    m = n // (bh * bw)
    y = x.reshape(bh, bw, m, c, h, w).permute(2, 3, 4, 0, 5, 1).reshape(m, c, h * bh, w * bw)
    return crop(y, (top, bottom), (left, right))


def sliding_windows(x: Tensor, axis: int, size: int, stride: int = 1) -> Tensor:
    """Windows of `size` along `axis`: that axis becomes (windows, size)."""
    axis %= x.ndim
    return x.unfold(axis, size, stride).movedim(-1, axis + 1)


def reverse(x: Tensor, axes: Ints | None = None) -> Tensor:
    """x backwards along `axes` (default: all)."""
    return x.flip(tuple(range(x.ndim)) if axes is None else axes)


def reverse_sequence(x: Tensor, lengths: Ints, seq_axis: int = 0, batch_axis: int = 0) -> Tensor:
    """For each entry i of `batch_axis` the first lengths[i] elements of `seq_axis` backwards."""
    seq, batch = seq_axis % x.ndim, batch_axis % x.ndim
    axis = seq - (seq > batch)
    rows = []
    for row, length in zip(x.unbind(batch), lengths, strict=True):
        head, tail = row.narrow(axis, 0, length), row.narrow(axis, length, row.shape[axis] - length)
        rows.append(torch.cat([head.flip(axis), tail], axis))
    return torch.stack(rows, batch)


def shape_of(x: Tensor) -> Tensor:
    """The shape of x as int32."""
    return torch.tensor(x.shape, dtype=torch.int32)


COMPUTED: Table = {}
MOVED: Table = {
    "reshape": {5: reshape, 7: reshape_from_the_back},
    "reshape_like": reshape_like,
    "transpose": transpose,
    "expand_dims": expand_dims,
    "squeeze": squeeze,
    "flatten2d": flatten2d,
    "concat": concat,
    "stack": stack,
    "split": split,
    "tile": tile,
    "pad": pad,
    "crop": crop,
    "pixel_shuffle": pixel_shuffle,
    "pixel_unshuffle": pixel_unshuffle,
    "depth_to_space": depth_to_space,
    "space_to_depth": space_to_depth,
    "space_to_batch": space_to_batch,
    "batch_to_space": batch_to_space,
    "sliding_windows": sliding_windows,
    "reverse": reverse,
    "reverse_sequence": reverse_sequence,
    "shape": shape_of,
}
