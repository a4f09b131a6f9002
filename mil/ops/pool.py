"""Pooling (MIL: `pool`) over the spatial axes of `x` (N, C, *D_in).

With `ceil_mode` the last window may hang over the end. It is dropped when it would start in the padding after the data,
and what hangs over never counts: it is minus infinity for a maximum, and no element of an average.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, prod

import torch
import torch.nn.functional as F
from torch import Tensor

from .operator import Ints, Table
from .padding import Pads, flat, pads

MAX_POOL = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
AVG_POOL = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)


@dataclass(frozen=True)
class Windows:
    """Where the windows lie: `pad` before and after each axis, and `over` beyond the padding because of ceil_mode."""

    kernel: Ints
    strides: Ints
    pad: Pads
    over: list[int]

    @property
    def amounts(self) -> Pads:
        """Padding and overhang together, before and after each axis."""
        return [(before, after + over) for (before, after), over in zip(self.pad, self.over, strict=True)]

    @property
    def whole(self) -> list[int]:
        """The same in torch's order."""
        return flat(self.amounts)


def windows(
    size: Ints, kernel: Ints, strides: Ints | None, pad_type: str, pad: Ints | None, ceil_mode: bool
) -> Windows:
    """The windows of a pooling operator over spatial axes of `size`."""
    ones = (1,) * len(size)
    strides = strides or ones
    amounts = pads(pad_type, pad, size, kernel, strides, ones)
    over = [_overhang(n, k, s, p, ceil_mode) for n, k, s, p in zip(size, kernel, strides, amounts, strict=True)]
    return Windows(kernel, strides, amounts, over)


def _overhang(n: int, k: int, s: int, pad: tuple[int, int], ceil_mode: bool) -> int:
    padded = n + sum(pad)
    count = (padded - k) // s + 1
    if ceil_mode:
        count = -((k - padded) // s) + 1
        if sum(pad) and (count - 1) * s >= n + pad[0]:
            count -= 1
    return max(0, (count - 1) * s + k - padded)


def max_pool(
    x: Tensor,
    kernel_sizes: Ints,
    strides: Ints | None = None,
    pad_type: str = "valid",
    pad: Ints | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """The maximum of each window; padding counts as minus infinity."""
    w = windows(tuple(x.shape[2:]), kernel_sizes, strides, pad_type, pad, ceil_mode)
    padded = F.pad(x, w.whole, value=-inf) if any(w.whole) else x
    return MAX_POOL[x.ndim - 3](padded, w.kernel, w.strides)


def avg_pool(
    x: Tensor,
    kernel_sizes: Ints,
    strides: Ints | None = None,
    pad_type: str = "valid",
    pad: Ints | None = None,
    ceil_mode: bool = False,
    exclude_padding_from_average: bool = False,
) -> Tensor:
    """The mean of each window; padding counts as zeros, or not at all."""
    w = windows(tuple(x.shape[2:]), kernel_sizes, strides, pad_type, pad, ceil_mode)
    pool = AVG_POOL[x.ndim - 3]
    if not any(w.whole):
        return pool(x, w.kernel, w.strides)
    mean = pool(F.pad(x, w.whole), w.kernel, w.strides)
    if not exclude_padding_from_average and not any(w.over):
        return mean
    return mean * correction(w, tuple(x.shape[2:]), exclude_padding_from_average).to(x.dtype)


def correction(w: Windows, size: Ints, exclude_padding: bool) -> Tensor:
    """Elements of a whole window over the elements that count, for each window: (1, 1, *D_out) in float64."""
    counted = F.pad(torch.ones(1, 1, *size, dtype=torch.float64), flat(w.pad), value=0.0 if exclude_padding else 1.0)
    share = AVG_POOL[len(size) - 1](F.pad(counted, flat([(0, over) for over in w.over])), w.kernel, w.strides)
    return prod(w.kernel) / (share * prod(w.kernel)).round()


def l2_pool(
    x: Tensor,
    kernel_sizes: Ints,
    strides: Ints | None = None,
    pad_type: str = "valid",
    pad: Ints | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """The square root of the sum of squares of each window."""
    w = windows(tuple(x.shape[2:]), kernel_sizes, strides, pad_type, pad, ceil_mode)
    mean = AVG_POOL[x.ndim - 3](F.pad(x * x, w.whole), w.kernel, w.strides)
    return (mean * prod(w.kernel)).sqrt()


COMPUTED: Table = {"avg_pool": avg_pool, "l2_pool": l2_pool}
MOVED: Table = {"max_pool": max_pool}
