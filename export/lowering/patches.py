"""Patches cut out of pictures and put back, crops, and uneven averages, in operators that Core ML has.

Cutting patches and adding them up again are convolutions with one-hot kernels, per channel: kernel number i has its one
at tap i. Each value is a copy, or a sum of the overlapping copies, so nothing is rounded that was not. An average over
regions that do not divide the picture is linear and separable: a matrix from each side.

A maximum over windows is none of that, but is asked for in the same terms: where its stride is left out, it is given.

Entries of PATCHES are decompositions, as those of `rewrites` are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

aten = torch.ops.aten


def _kernels(channels: int, size: Sequence[int], dtype: torch.dtype) -> Tensor:
    """(channels · taps, 1, height, width): for each channel, one kernel per tap with its one there."""
    taps = size[0] * size[1]
    tap = torch.arange(taps)
    one_hot = (tap == tap.reshape(-1, 1)).to(dtype)
    return one_hot.reshape(taps, 1, *size).repeat(channels, 1, 1, 1)


def _positions(length: int, taps: int, dilation: int, padding: int, stride: int) -> int:
    """How many patches lie in one direction."""
    return (length + 2 * padding - dilation * (taps - 1) - 1) // stride + 1


def _im2col(self: Tensor, kernel_size: list[int], dilation: list[int], padding: list[int], stride: list[int]) -> Any:
    """(N, C, H, W) to (N, C · taps, positions)."""
    if self.ndim != 4:
        return NotImplemented
    channels = self.shape[1]
    weight = _kernels(channels, kernel_size, self.dtype)
    return F.conv2d(self, weight, None, stride, padding, dilation, channels).flatten(2)


def _col2im(
    self: Tensor,
    output_size: list[int],
    kernel_size: list[int],
    dilation: list[int],
    padding: list[int],
    stride: list[int],
) -> Any:
    """(N, C · taps, positions) to (N, C, H, W), overlapping patches added up."""
    if self.ndim != 3:
        return NotImplemented
    channels = self.shape[1] // (kernel_size[0] * kernel_size[1])
    places = list(zip(output_size, kernel_size, dilation, padding, stride, strict=True))
    counts = [_positions(*place) for place in places]
    left = [
        length - ((count - 1) * step - 2 * margin + apart * (taps - 1) + 1)
        for count, (length, taps, apart, margin, step) in zip(counts, places, strict=True)
    ]
    patches = self.reshape(-1, self.shape[1], *counts)
    weight = _kernels(channels, kernel_size, self.dtype)
    return F.conv_transpose2d(patches, weight, None, stride, padding, left, channels, dilation)


def _unfold(self: Tensor, dimension: int, size: int, step: int) -> Any:
    """Windows along an axis, each a slice; where there are more windows than places in one, the places are slices."""
    axis = dimension % self.ndim
    count = (self.shape[axis] - size) // step + 1
    if count <= size:
        windows = [self.narrow(axis, at * step, size) for at in range(count)]
        return torch.stack(windows, axis).movedim(axis + 1, -1)
    reach = (count - 1) * step + 1
    return torch.stack([aten.slice.Tensor(self, axis, at, at + reach, step) for at in range(size)], -1)


def _pad(self: Tensor, pad: list[int], mode: str = "constant", value: float | None = None) -> Any:
    """A negative padding is a crop, which coremltools refuses."""
    if mode != "constant" or min(pad) >= 0:
        return NotImplemented
    cropped = self
    for at in range(len(pad) // 2):
        axis, (front, back) = self.ndim - 1 - at, pad[2 * at : 2 * at + 2]
        if min(front, back) < 0:
            start, end = max(-front, 0), self.shape[axis] - max(-back, 0)
            cropped = aten.slice.Tensor(cropped, axis, start, end)
    added = [max(length, 0) for length in pad]
    return F.pad(cropped, added, mode, value) if any(added) else cropped


def _constant_pad(self: Tensor, pad: list[int], value: float = 0) -> Any:
    return _pad(self, pad, "constant", value)


def _adaptive_average(self: Tensor, output_size: list[int]) -> Any:
    """coremltools takes uneven regions apart one by one: two operations for each place of the result."""
    if all(length % wanted == 0 for length, wanted in zip(self.shape[-2:], output_size, strict=True)):
        return NotImplemented
    down, across = (_regions(*sizes, self.dtype) for sizes in zip(self.shape[-2:], output_size, strict=True))
    return down @ self @ across.T


def _regions(length: int, wanted: int, dtype: torch.dtype) -> Tensor:
    """The matrix (wanted, length) that averages the regions of one direction."""
    with _disable_current_modes():  # values are wanted, where a decomposition deals in shapes alone
        rows = F.adaptive_avg_pool1d(torch.eye(length, dtype=dtype), wanted).T.tolist()
    return torch.tensor(rows, dtype=dtype)


_MAXIMA = (
    aten.max_pool1d.default,
    aten.max_pool2d.default,
    aten.max_pool3d.default,
    aten.max_pool2d_with_indices.default,
    aten.max_pool3d_with_indices.default,
)


def _stepping(operator: Any) -> Callable[..., Any]:
    """A pooling that is given no stride steps by its kernel; coremltools asks for the number."""

    def pool(self: Tensor, kernel_size: list[int], stride: Sequence[int] = (), *rest: Any) -> Any:
        return NotImplemented if stride else operator(self, kernel_size, kernel_size, *rest)

    return pool


PATCHES: dict[Any, Callable[..., Any]] = {
    aten.im2col.default: _im2col,
    aten.col2im.default: _col2im,
    aten.unfold.default: _unfold,
    aten.pad.default: _pad,
    aten.constant_pad_nd.default: _constant_pad,
    aten.adaptive_avg_pool2d.default: _adaptive_average,
    **{operator: _stepping(operator) for operator in _MAXIMA},
}
