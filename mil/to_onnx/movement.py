"""Rearranging, slicing, picking and padding. Result shapes are known, so most of it is Reshape, Transpose and Slice."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..ops.operator import Flags, Ints
from ..ops.shape import reshape, reshape_from_the_back
from ..ops.slicing import size_ranges, slice_ranges
from ..ops.tensor import band
from .graph import CannotLower, Graph, Symbol

Symbols = tuple[Symbol, ...]


def _reshaped(g: Graph, x: Symbol | str, shape: Ints | list[int]) -> str:
    return g.node("Reshape", [x if isinstance(x, str) else x.name, g.ints(*shape)])


def _shape_of(x: Symbol, wanted: Ints, rule: Any) -> Ints:
    """The shape that a reshape rule gives, by asking it to reshape a stand-in without data."""
    import torch

    return tuple(rule(torch.empty(x.shape, device="meta"), wanted).shape)


def reshape_from_the_front(g: Graph, x: Symbol, shape: Ints) -> str:
    return _reshaped(g, x, _shape_of(x, shape, reshape))


def reshape_aligned_at_the_back(g: Graph, x: Symbol, shape: Ints) -> str:
    return _reshaped(g, x, _shape_of(x, shape, reshape_from_the_back))


def expand_dims(g: Graph, x: Symbol, axes: Ints) -> str:
    return g.node("Unsqueeze", [x.name, g.ints(*axes)])


def squeeze(g: Graph, x: Symbol, axes: Ints | None = None) -> str:
    chosen = [i for i, n in enumerate(x.shape) if n == 1] if axes is None else list(axes)
    return g.node("Squeeze", [x.name, g.ints(*chosen)])


def flatten2d(g: Graph, x: Symbol, axis: int = 1) -> str:
    split = axis + x.ndim if axis < 0 else axis
    return _reshaped(g, x, [prod(x.shape[:split]), prod(x.shape[split:])])


def transpose(g: Graph, x: Symbol, perm: Ints) -> str:
    return g.node("Transpose", [x.name], perm=[p % x.ndim for p in perm])


def tile(g: Graph, x: Symbol, reps: Ints) -> str:
    return g.node("Tile", [x.name, g.ints(*reps)])


def stack(g: Graph, values: Symbols, axis: int) -> str:
    at = axis % (values[0].ndim + 1)
    return g.node("Concat", [g.node("Unsqueeze", [v.name, g.ints(at)]) for v in values], axis=at)


def concat(g: Graph, values: Symbols, axis: int, interleave: bool = False) -> str:
    names = [v.name if v.ndim else _reshaped(g, v, [1]) for v in values]
    if not interleave:
        return g.node("Concat", names, axis=axis)
    at = axis % values[0].ndim
    alternating = g.node("Concat", [g.node("Unsqueeze", [n, g.ints(at + 1)]) for n in names], axis=at + 1)
    shape = list(values[0].shape)
    shape[at] *= len(values)
    return _reshaped(g, alternating, shape)


def split(g: Graph, x: Symbol, axis: int, num_splits: int | None = None, split_sizes: Ints | None = None) -> list[str]:
    sizes = split_sizes or (x.shape[axis] // (num_splits or 1),) * (num_splits or 1)
    return g.nodes_with("Split", [x.name, g.ints(*sizes)], len(sizes), axis=axis)


def slice_by_index(
    g: Graph,
    x: Symbol,
    begin: Ints,
    end: Ints,
    stride: Ints | None = None,
    begin_mask: Flags | None = None,
    end_mask: Flags | None = None,
    squeeze_mask: Flags | None = None,
) -> str:
    ranges, dropped = slice_ranges(x.shape, begin, end, stride, begin_mask, end_mask, squeeze_mask)
    y = _sliced(g, x, ranges)
    return g.node("Squeeze", [y, g.ints(*dropped)]) if dropped else y


def slice_by_size(g: Graph, x: Symbol, begin: Ints, size: Ints) -> str:
    return _sliced(g, x, size_ranges(x.shape, begin, size))


def crop(g: Graph, x: Symbol, crop_height: Ints, crop_width: Ints) -> str:
    rows = range(crop_height[0], x.shape[-2] - crop_height[1])
    columns = range(crop_width[0], x.shape[-1] - crop_width[1])
    return _sliced(g, x, [*[range(n) for n in x.shape[:-2]], rows, columns])


def _sliced(g: Graph, x: Symbol, ranges: list[range]) -> str:
    """X at a range of indices on each axis."""
    cut = [(i, r) for i, r in enumerate(ranges) if r != range(x.shape[i])]
    if not cut:
        return g.node("Identity", [x.name])
    starts = [r.start for _, r in cut]
    stops = [r.stop if r.step > 0 or r.stop >= 0 else -(1 << 60) for _, r in cut]
    axes, steps = [i for i, _ in cut], [r.step for _, r in cut]
    return g.node("Slice", [x.name, g.ints(*starts), g.ints(*stops), g.ints(*axes), g.ints(*steps)])


def reverse(g: Graph, x: Symbol, axes: Ints | None = None) -> str:
    turned = [a % x.ndim for a in (range(x.ndim) if axes is None else axes)]
    ranges = [range(n - 1, -1, -1) if i in turned else range(n) for i, n in enumerate(x.shape)]
    return _sliced(g, x, ranges)


def pad(g: Graph, x: Symbol, pad: Ints, mode: str = "constant", constant_val: float = 0.0) -> str:
    untouched = [0] * (x.ndim - len(pad) // 2)
    amounts = g.ints(*untouched, *pad[0::2], *untouched, *pad[1::2])
    if mode == "constant":
        fill = g.constant(constant_val, np.float32 if x.dtype.is_float else np.int32)
        return g.node("Pad", [x.name, amounts, fill], mode="constant")
    return g.node("Pad", [x.name, amounts], mode={"replicate": "edge"}.get(mode, mode))


def pixel_shuffle(g: Graph, x: Symbol, upscale_factor: int) -> str:
    return g.node("DepthToSpace", [x.name], blocksize=upscale_factor, mode="CRD")


def pixel_unshuffle(g: Graph, x: Symbol, downscale_factor: int) -> str:
    r, (n, c, h, w) = downscale_factor, x.shape
    blocks = _reshaped(g, x, [n, c, h // r, r, w // r, r])
    return _reshaped(g, g.node("Transpose", [blocks], perm=[0, 1, 3, 5, 2, 4]), [n, c * r * r, h // r, w // r])


def depth_to_space(g: Graph, x: Symbol, block_size: int) -> str:
    return g.node("DepthToSpace", [x.name], blocksize=block_size, mode="DCR")


def space_to_depth(g: Graph, x: Symbol, block_size: int) -> str:
    return g.node("SpaceToDepth", [x.name], blocksize=block_size)


def gather(
    g: Graph, x: Symbol, indices: Symbol, axis: int = 0, batch_dims: int = 0, validate_indices: bool = False
) -> str:
    if batch_dims:
        raise CannotLower("it pairs batch axes")
    return g.node("Gather", [x.name, indices.name], axis=axis)


def gather_along_axis(g: Graph, x: Symbol, indices: Symbol, axis: int = 0, validate_indices: bool = False) -> str:
    return g.node("GatherElements", [x.name, indices.name], axis=axis)


def gather_nd(g: Graph, x: Symbol, indices: Symbol, batch_dims: int = 0, validate_indices: bool = False) -> str:
    return g.node("GatherND", [x.name, _int64(g, indices)], batch_dims=batch_dims)


def _int64(g: Graph, x: Symbol) -> str:
    from onnx import TensorProto

    return g.node("Cast", [x.name], to=TensorProto.INT64)


def band_part(g: Graph, x: Symbol, lower: int = -1, upper: int = -1) -> str:
    keep = band(x.shape[-2], x.shape[-1], lower, upper).numpy()
    return g.node("Mul", [x.name, g.constant(keep, np.float32 if x.dtype.is_float else np.int32)])


LOWERINGS: dict[str, Any] = {
    "reshape": {5: reshape_from_the_front, 7: reshape_aligned_at_the_back},
    "expand_dims": expand_dims,
    "squeeze": squeeze,
    "flatten2d": flatten2d,
    "transpose": transpose,
    "tile": tile,
    "stack": stack,
    "concat": concat,
    "split": split,
    "slice_by_index": slice_by_index,
    "slice_by_size": slice_by_size,
    "crop": crop,
    "reverse": reverse,
    "pad": pad,
    "pixel_shuffle": pixel_shuffle,
    "pixel_unshuffle": pixel_unshuffle,
    "depth_to_space": depth_to_space,
    "space_to_depth": space_to_depth,
    "gather": gather,
    "gather_along_axis": gather_along_axis,
    "gather_nd": gather_nd,
    "band_part": band_part,
}
