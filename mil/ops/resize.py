"""Resizing the last axes of an image (MIL: `image_resizing`).

The documentation gives each mode as a grid of source coordinates; nearest modes differ by operator, as Core ML's own
tests show: `upsample_` and `resize_nearest_neighbor` floor i * in / out, iOS17's `resize` rounds the grid's coordinate.
"""

from __future__ import annotations

from math import floor

import torch
from torch import Tensor

from .operator import Ints, Number, Table, bounded


def grid(n_in: int, n_out: int, mode: str) -> Tensor:
    """Source coordinate, in 0..n_in-1, of each of `n_out` samples (float64); raises ValueError for an unknown mode."""
    i = torch.arange(n_out, dtype=torch.float64)
    if mode == "ALIGN_CORNERS" and n_out == 1:
        return torch.full((1,), (n_in - 1) / 2, dtype=torch.float64)
    if mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        source = i * ((n_in - 1) / max(1, n_out - 1))
    elif mode == "DEFAULT":
        source = i * ((n_in - n_in / n_out) / max(1, n_out - 1))
    elif mode == "OFFSET_CORNERS":
        step = max(1, n_in - 1) / n_out
        source = 0.5 * step + i * step
    elif mode == "UNALIGN_CORNERS":
        step = n_in / n_out
        source = i * step + 0.5 * step - 0.5
    else:
        raise ValueError(f"unknown sampling mode {mode!r}")
    return source.clamp(0, n_in - 1)


def nearest(n_in: int, n_out: int, mode: str | None = None) -> Tensor:
    """Index, in 0..n_in-1, of the element that each of `n_out` samples takes (int64): floor(i * in / out), or the
    coordinate in the grid of `mode`, rounded with halves up."""
    if mode is None:
        source = (torch.arange(n_out, dtype=torch.float64) * (n_in / n_out)).floor()
    else:
        source = (grid(n_in, n_out, mode) + 0.5).floor()
    return source.long().clamp(max=n_in - 1)


def interpolate(x: Tensor, axis: int, source: Tensor) -> Tensor:
    """Linear interpolation of x along `axis` at the coordinates `source`."""
    low = source.floor()
    share = (source - low).to(x.dtype).reshape([-1] + [1] * (x.ndim - 1 - axis % x.ndim))
    first = low.long()
    second = (first + 1).clamp(max=x.shape[axis] - 1)
    return x.index_select(axis, first) * (1 - share) + x.index_select(axis, second) * share


def _bilinear(x: Tensor, height: int, width: int, mode: str) -> Tensor:
    bounded((*x.shape[:-2], height, width))
    for axis, n in ((x.ndim - 2, height), (x.ndim - 1, width)):
        if n != x.shape[axis] or mode == "OFFSET_CORNERS":
            x = interpolate(x, axis, grid(x.shape[axis], n, mode))
    return x


def _nearest(x: Tensor, height: int, width: int) -> Tensor:
    bounded((*x.shape[:-2], height, width))
    for axis, n in ((x.ndim - 2, height), (x.ndim - 1, width)):
        x = x.index_select(axis, nearest(x.shape[axis], n))
    return x


def upsample_bilinear(
    x: Tensor,
    scale_factor_height: Number = 1,
    scale_factor_width: Number = 1,
    align_corners: bool = True,
    half_pixel_centers: bool | None = None,
) -> Tensor:
    """Bilinear to floor(scale * size); the grid is aligned to corners, to half pixels, or to the first pixel.

    Without `align_corners` the grid is that of half pixels unless `half_pixel_centers` says no.
    """
    height, width = floor(scale_factor_height * x.shape[-2]), floor(scale_factor_width * x.shape[-1])
    unaligned = "DEFAULT" if half_pixel_centers is False else "UNALIGN_CORNERS"
    return _bilinear(x, height, width, "STRICT_ALIGN_CORNERS" if align_corners else unaligned)


def resize_bilinear(
    x: Tensor, target_size_height: int = 1, target_size_width: int = 1, sampling_mode: str = "DEFAULT"
) -> Tensor:
    """Bilinear to the target size on the grid of `sampling_mode`."""
    return _bilinear(x, target_size_height, target_size_width, sampling_mode)


def upsample_nearest_neighbor(x: Tensor, scale_factor_height: Number = 1, scale_factor_width: Number = 1) -> Tensor:
    """Nearest to floor(scale * size); a fractional scale is recomputed from the sizes, unlike in PyTorch."""
    return _nearest(x, floor(scale_factor_height * x.shape[-2]), floor(scale_factor_width * x.shape[-1]))


def resize_nearest_neighbor(x: Tensor, target_size_height: int, target_size_width: int) -> Tensor:
    """Nearest to the target size."""
    return _nearest(x, target_size_height, target_size_width)


def resize(
    x: Tensor, shape: Ints, resized_dims: int, interpolation_mode: str = "LINEAR", sampling_mode: str = "DEFAULT"
) -> Tensor:
    """The last `resized_dims` axes to the last entries of `shape` (0 keeps one), linear or nearest."""
    first = x.ndim - resized_dims
    targets = [want or have for want, have in zip(shape[-resized_dims:], x.shape[first:], strict=True)]
    bounded((*x.shape[:first], *targets))
    for axis, n in enumerate(targets, first):
        if n == x.shape[axis] and sampling_mode != "OFFSET_CORNERS":
            continue
        if interpolation_mode == "LINEAR":
            x = interpolate(x, axis, grid(x.shape[axis], n, sampling_mode))
        else:
            x = x.index_select(axis, nearest(x.shape[axis], n, sampling_mode))
    return x


COMPUTED: Table = {"upsample_bilinear": upsample_bilinear, "resize_bilinear": resize_bilinear, "resize": resize}
MOVED: Table = {
    "upsample_nearest_neighbor": upsample_nearest_neighbor,
    "resize_nearest_neighbor": resize_nearest_neighbor,
}
