"""Sampling an image at computed coordinates (MIL: `image_resizing`): resample, affine, crop_resize."""

from __future__ import annotations

import torch
from torch import Tensor

from .operator import Ints, Number, Table, bounded
from .resize import interpolate


def resample(
    x: Tensor,
    coordinates: Tensor,
    sampling_mode: str = "bilinear",
    padding_mode: str = "constant",
    padding_value: Number = 0.0,
    coordinates_mode: str = "normalized_minus_one_to_one",
    align_corners: bool = False,
) -> Tensor:
    """x (N, C, H, W) at `coordinates` (N, h, w, 2), each (x, y) in pixels or normalised as `coordinates_mode` says."""
    coordinates = coordinates.to(x.dtype)
    images = []
    for image, places in zip(x, coordinates, strict=True):
        columns = _in_pixels(places[..., 0], x.shape[3], coordinates_mode, align_corners)
        rows = _in_pixels(places[..., 1], x.shape[2], coordinates_mode, align_corners)
        images.append(_sampled(image, columns, rows, sampling_mode, padding_mode, padding_value))
    return torch.stack(images)


def affine(
    x: Tensor,
    transform_matrix: Tensor,
    output_height: int,
    output_width: int,
    sampling_mode: str = "bilinear",
    padding_mode: str = "constant",
    padding_value: Number = 0.0,
    coordinates_mode: str = "normalized_minus_one_to_one",
    align_corners: bool = True,
) -> Tensor:
    """x sampled at the output grid, in -1..1, moved by `transform_matrix` (N or 1, 6): rows of a 2x3 matrix."""
    bounded((*x.shape[:2], output_height, output_width))
    ys = torch.linspace(-1, 1, output_height, dtype=x.dtype)[:, None].expand(output_height, output_width)
    xs = torch.linspace(-1, 1, output_width, dtype=x.dtype).expand(output_height, output_width)
    homogeneous = torch.stack([xs, ys, torch.ones_like(xs)], -1)
    moved = torch.einsum("hwk,bjk->bhwj", homogeneous, transform_matrix.reshape(-1, 2, 3).to(x.dtype))
    places = moved.expand(x.shape[0], output_height, output_width, 2)
    return resample(x, places, sampling_mode, padding_mode, padding_value, coordinates_mode, align_corners)


def _in_pixels(v: Tensor, n: int, mode: str, align_corners: bool) -> Tensor:
    """Coordinates along an axis of length n in pixels, 0 at the centre of the first."""
    if mode == "normalized_minus_one_to_one":
        return (v + 1) / 2 * (n - 1) if align_corners else ((v + 1) * n - 1) / 2
    if mode == "normalized_zero_to_one":
        return v * (n - 1) if align_corners else v * n - 0.5
    if mode != "unnormalized":
        raise ValueError(f"unknown coordinates mode {mode!r}")
    return v


def _sampled(image: Tensor, columns: Tensor, rows: Tensor, sampling: str, padding: str, fill: Number) -> Tensor:
    """`image` (C, H, W) at pixel coordinates (h, w)."""
    height, width = image.shape[1:]
    if sampling == "nearest":  # a half goes away from zero
        nearest = [(v.sign() * (v.abs() + 0.5).floor()).long() for v in (columns, rows)]
        return _pixels(image, nearest[0], nearest[1], padding, fill)
    if padding == "border":
        columns, rows = columns.clamp(0, width - 1), rows.clamp(0, height - 1)
    left, top = columns.floor(), rows.floor()
    fx, fy = columns - left, rows - top
    x0, y0 = left.long(), top.long()
    upper = _pixels(image, x0, y0, padding, fill) * (1 - fx) + _pixels(image, x0 + 1, y0, padding, fill) * fx
    lower = _pixels(image, x0, y0 + 1, padding, fill) * (1 - fx) + _pixels(image, x0 + 1, y0 + 1, padding, fill) * fx
    return upper * (1 - fy) + lower * fy


def _pixels(image: Tensor, x: Tensor, y: Tensor, padding: str, fill: Number) -> Tensor:
    """Pixels of `image` at whole coordinates; outside it the padding mode decides."""
    height, width = image.shape[1:]
    if padding != "constant":
        return image[:, _folded(y, height, padding), _folded(x, width, padding)]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    found = image[:, y.clamp(0, height - 1), x.clamp(0, width - 1)]
    return torch.where(inside, found, torch.tensor(fill, dtype=image.dtype))


def _folded(i: Tensor, n: int, padding: str) -> Tensor:
    """Coordinates brought into 0..n-1: to the border, mirrored at the border's centre, or at its edge."""
    if padding == "border":
        return i.clamp(0, n - 1)
    if padding == "reflection":
        if n == 1:
            return torch.zeros_like(i)
        i = i.abs() % (2 * (n - 1))
        return torch.where(i >= n, 2 * (n - 1) - i, i)
    if padding != "symmetric":
        raise ValueError(f"unknown padding mode {padding!r}")
    i = i % (2 * n)
    return torch.where(i >= n, 2 * n - 1 - i, i)


def crop_resize_roi(
    x: Tensor,
    roi: Tensor,
    target_height: int = 1,
    target_width: int = 1,
    normalized_coordinates: bool = False,
    spatial_scale: float = 1.0,
    box_coordinate_mode: str = "CORNERS_HEIGHT_FIRST",
    sampling_mode: str = "DEFAULT",
    pad_value: float = 0.0,
) -> Tensor:
    """Boxes of x resized: `roi` (N, 1, 4 or 5, 1, 1) with an image index first when 5; result (N, B, C, h, w).

    Without an index every box is cut from every image of the batch.
    """
    boxes = roi.reshape(roi.shape[0], -1)
    index = boxes[:, 0].long().tolist() if boxes.shape[1] == 5 else None
    form = (target_height, target_width, normalized_coordinates, spatial_scale, box_coordinate_mode, sampling_mode)
    cut = _crops(x, boxes[:, -4:], index, *form, pad_value)
    return cut.reshape(boxes.shape[0], -1, x.shape[1], target_height, target_width)


def crop_resize(
    x: Tensor,
    boxes: Tensor,
    box_indices: Ints | None = None,
    target_height: int = 1,
    target_width: int = 1,
    normalized_coordinates: bool = False,
    spatial_scale: float = 1.0,
    box_coordinate_mode: str = "CORNERS_HEIGHT_FIRST",
    sampling_mode: str = "DEFAULT",
    pad_value: float = 0.0,
) -> Tensor:
    """From iOS17 on: `boxes` (N, 4) and the image of each box; result (N, C, h, w)."""
    index = list(box_indices) if box_indices is not None else list(range(boxes.shape[0]))
    form = (target_height, target_width, normalized_coordinates, spatial_scale, box_coordinate_mode, sampling_mode)
    return _crops(x, boxes, index, *form, pad_value)


def _crops(
    x: Tensor,
    boxes: Tensor,
    index: list[int] | None,
    height: int,
    width: int,
    normalized: bool,
    spatial_scale: float,
    box_mode: str,
    sampling_mode: str,
    pad_value: float,
) -> Tensor:
    """Each box of its image (of every image when `index` is None) as (C, height, width), stacked."""
    bounded((boxes.shape[0], x.shape[1], height, width))
    rows_in, columns_in = x.shape[2:]
    cut = []
    for j, box in enumerate((boxes.double() * spatial_scale).tolist()):
        y0, x0, y1, x1 = _corners(box, box_mode)
        if normalized:
            y0, y1, x0, x1 = y0 * (rows_in - 1), y1 * (rows_in - 1), x0 * (columns_in - 1), x1 * (columns_in - 1)
        rows, columns = _box_grid(y0, y1, height, sampling_mode), _box_grid(x0, x1, width, sampling_mode)
        inside_y, inside_x = (rows >= 0) & (rows <= rows_in - 1), (columns >= 0) & (columns <= columns_in - 1)
        for b in range(x.shape[0]) if index is None else [index[j]]:
            picked = interpolate(x[b], 1, rows.clamp(0, rows_in - 1))
            picked = interpolate(picked, 2, columns.clamp(0, columns_in - 1))
            inside = inside_y[:, None] & inside_x[None]
            cut.append(torch.where(inside, picked, torch.tensor(pad_value, dtype=x.dtype)))
    return torch.stack(cut)


def _corners(box: list[float], mode: str) -> tuple[float, float, float, float]:
    """(y0, x0, y1, x1) of a box written as corners or as centre and size, height or width first."""
    a, b, c, d = box
    if mode.endswith("WIDTH_FIRST"):
        a, b, c, d = b, a, d, c
    if mode.startswith("CENTER"):
        return a - c / 2, b - d / 2, a + c / 2, b + d / 2
    return a, b, c, d


def _box_grid(p: float, q: float, n: int, mode: str) -> Tensor:
    """Source coordinates of `n` samples between p and q, by sampling mode."""
    if n == 1 and mode in ("DEFAULT", "ALIGN_CORNERS"):
        return torch.tensor([(p + q) / 2 if mode == "ALIGN_CORNERS" else p], dtype=torch.float64)
    i = torch.arange(n, dtype=torch.float64)
    if mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        return p + i * ((q - p) / max(1, n - 1))
    if mode == "DEFAULT":
        return p + i * ((q - p) - (q - p) / n) / max(1, n - 1)
    if mode == "OFFSET_CORNERS":
        step = (q - p) / n
        return p + 0.5 * step + i * step
    if mode != "UNALIGN_CORNERS":
        raise ValueError(f"unknown sampling mode {mode!r}")
    step = (q - p + 1) / n
    return p + i * step + 0.5 * step - 0.5


COMPUTED: Table = {
    "resample": resample,
    "affine": affine,
    "crop_resize": {5: crop_resize_roi, 7: crop_resize},
}
MOVED: Table = {}
