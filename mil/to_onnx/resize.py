"""Resizing. Where ONNX has the same grid it is one Resize; elsewhere constant indices and weights on each axis."""

from __future__ import annotations

from math import floor
from typing import Any

import numpy as np
import torch

from ..ops.operator import Ints, Number
from ..ops.resize import grid, nearest
from .graph import Graph, Symbol

COORDINATES = {
    "STRICT_ALIGN_CORNERS": "align_corners",
    "ALIGN_CORNERS": "align_corners",
    "DEFAULT": "asymmetric",
    "UNALIGN_CORNERS": "half_pixel",
}


def upsample_bilinear(
    g: Graph,
    x: Symbol,
    scale_factor_height: Number = 1,
    scale_factor_width: Number = 1,
    align_corners: bool = True,
    half_pixel_centers: bool | None = None,
) -> str:
    size = (floor(scale_factor_height * x.shape[-2]), floor(scale_factor_width * x.shape[-1]))
    unaligned = "DEFAULT" if half_pixel_centers is False else "UNALIGN_CORNERS"
    return _linear(g, x, size, "STRICT_ALIGN_CORNERS" if align_corners else unaligned)


def resize_bilinear(
    g: Graph, x: Symbol, target_size_height: int = 1, target_size_width: int = 1, sampling_mode: str = "DEFAULT"
) -> str:
    return _linear(g, x, (target_size_height, target_size_width), sampling_mode)


def upsample_nearest_neighbor(
    g: Graph, x: Symbol, scale_factor_height: Number = 1, scale_factor_width: Number = 1
) -> str:
    size = (floor(scale_factor_height * x.shape[-2]), floor(scale_factor_width * x.shape[-1]))
    return _nearest(g, x, size)


def resize_nearest_neighbor(g: Graph, x: Symbol, target_size_height: int, target_size_width: int) -> str:
    return _nearest(g, x, (target_size_height, target_size_width))


def resize(
    g: Graph,
    x: Symbol,
    shape: Ints,
    resized_dims: int,
    interpolation_mode: str = "LINEAR",
    sampling_mode: str = "DEFAULT",
) -> str:
    first = x.ndim - resized_dims
    size = tuple(want or have for want, have in zip(shape[-resized_dims:], x.shape[first:], strict=True))
    if interpolation_mode == "LINEAR":
        return _linear(g, x, size, sampling_mode)
    y = x.name
    for axis, n in enumerate(size, first):
        if n == x.shape[axis] and sampling_mode != "OFFSET_CORNERS":
            continue
        index = nearest(x.shape[axis], n, sampling_mode).numpy()
        y = g.node("Gather", [y, g.constant(index, np.int64)], axis=axis)
    return y if y != x.name else g.node("Identity", [y])


def _linear(g: Graph, x: Symbol, size: tuple[int, ...], mode: str) -> str:
    """The last len(size) axes of x, linearly, on the grid of `mode`."""
    first = x.ndim - len(size)
    one_pixel = mode == "ALIGN_CORNERS" and 1 in size
    if x.ndim == 4 and len(size) == 2 and mode in COORDINATES and not one_pixel:
        target = g.ints(*x.shape[:first], *size)
        return g.node(
            "Resize", [x.name, "", "", target], mode="linear", coordinate_transformation_mode=COORDINATES[mode]
        )
    y = x.name
    for axis, n in enumerate(size, first):
        if n != x.shape[axis] or mode == "OFFSET_CORNERS":
            y = _interpolated(g, y, axis, grid(x.shape[axis], n, mode), x.shape[axis], x.ndim)
    return y if y != x.name else g.node("Identity", [y])


def _interpolated(g: Graph, x: str, axis: int, source: torch.Tensor, length: int, rank: int) -> str:
    """Linear interpolation along `axis` at constant coordinates."""
    low = source.floor()
    share = (source - low).reshape([-1] + [1] * (rank - 1 - axis)).numpy()
    first = g.node("Gather", [x, g.constant(low.numpy(), np.int64)], axis=axis)
    second = g.node("Gather", [x, g.constant((low + 1).clamp(max=length - 1).numpy(), np.int64)], axis=axis)
    left = g.node("Mul", [first, g.constant(1 - share)])
    return g.node("Add", [left, g.node("Mul", [second, g.constant(share)])])


def _nearest(g: Graph, x: Symbol, size: tuple[int, int]) -> str:
    """Whole factors as Resize, others by constant indices: floor(i * in / out) must not depend on rounding."""
    height, width = x.shape[-2:]
    if x.ndim == 4 and size[0] % height == 0 and size[1] % width == 0:
        target = g.ints(*x.shape[:2], *size)
        form = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return g.node("Resize", [x.name, "", "", target], **form)
    y = x.name
    for axis, n in ((x.ndim - 2, size[0]), (x.ndim - 1, size[1])):
        y = g.node("Gather", [y, g.constant(nearest(x.shape[axis], n).numpy(), np.int64)], axis=axis)
    return y


LOWERINGS: dict[str, Any] = {
    "upsample_bilinear": upsample_bilinear,
    "resize_bilinear": resize_bilinear,
    "upsample_nearest_neighbor": upsample_nearest_neighbor,
    "resize_nearest_neighbor": resize_nearest_neighbor,
    "resize": resize,
}
