"""Layers in float64 on small pieces of what they read, several times faster than torch has them.

The proofs run pieces of a few pixels, or tokens, of hundreds of channels (`window.py`), so a layer takes the time in
which its weights are read.

- A weight is widened a few rows at a time: as a whole it would be larger than any cache.
- Torch multiplies a dense convolution's weights by columns of pixels. As rows, y = x·wᵀ, they take half the time.
- Depthwise, it loops over the channels, five microseconds each, for its vector code has no float64. With the channels
  last that is one multiply-add over all of them per tap: y[p, c] = Σₖ w[c, k]·x[p·stride + k·dilation − padding, c].
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from .graph import arguments, is_op, shape

_PIXELS_BY_TAPS = 256
"""Pixels of a depthwise output up to which this is the faster way; torch loops over longer rows from there on."""

_PIXELS_AS_ROWS = 32
"""The same of a dense one."""

_BLOCK = 2**18
"""Weights that are widened at a time."""


def is_taken(node: Node) -> bool:
    """Whether `run` can stand for this call."""
    if node.kwargs:
        return False
    if is_op(node, "linear"):
        return len(shape(arguments(node)["weight"])) == 2
    if not is_op(node, "conv2d") or len(shape(node)) != 4:
        return False
    given = arguments(node)
    return (given["groups"] == 1 or shape(given["weight"])[1] == 1) and not isinstance(given["padding"], str)


def run(call: Any, x: Tensor, weight: Tensor, bias: Tensor | None = None, *rest: Any) -> Tensor:
    """What `call`, aten's linear or conv2d, makes in float64 of x and a weight of any float type.

    These are (…, C) and (K, C) of a linear layer, (N, C, H, W) and (K, C, kH, kW) of a dense convolution, or a multiple
    of C and 1 in place of K and C.
    """
    x, bias = x.double(), None if bias is None else bias.double()
    if weight.dim() == 2:
        return _product(x, weight, bias)
    stride, padding, dilation = (_pair(rest, place, absent) for place, absent in ((0, 1), (1, 0), (2, 1)))
    size = tuple(
        (length + 2 * pad - gap * (taps - 1) - 1) // step + 1
        for length, pad, gap, taps, step in zip(x.shape[2:], padding, dilation, weight.shape[2:], stride, strict=True)
    )
    is_dense = weight.shape[1] == x.shape[1]
    if min(size) < 1 or size[0] * size[1] > (_PIXELS_AS_ROWS if is_dense else _PIXELS_BY_TAPS):
        return call(x, weight.double(), bias, *rest)
    if is_dense:
        seen = torch.nn.functional.unfold(x, tuple(weight.shape[2:]), dilation, padding, stride)
        return _product(seen.mT, weight.flatten(1), bias).mT.unflatten(2, size)
    return _by_taps(x, weight.double(), bias, size, stride, padding, dilation)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x·wᵀ + b."""
    rows = len(weight) if weight.dtype == torch.float64 else _BLOCK // max(1, weight.shape[1])
    made = [x @ part.double().mT for part in weight.split(max(1, rows))]
    product = made[0] if len(made) == 1 else torch.cat(made, -1)
    return product if bias is None else product.add_(bias)


def _by_taps(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    size: tuple[int, ...],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> Tensor:
    padded = _channels_last(x, padding, weight.shape[0] // x.shape[1])
    made = x.new_zeros(len(x), *size, len(weight)) if bias is None else bias.repeat(len(x), *size, 1)
    taps = weight.permute(2, 3, 1, 0).contiguous()
    for row in range(weight.shape[2]):
        rows = padded[:, _seen(row, dilation[0], stride[0], size[0])]
        for column in range(weight.shape[3]):
            made.addcmul_(rows[:, :, _seen(column, dilation[1], stride[1], size[1])], taps[row, column])
    return made.permute(0, 3, 1, 2)


def _pair(rest: tuple[Any, ...], place: int, absent: int) -> tuple[int, int]:
    given = rest[place] if place < len(rest) else [absent]
    return given[0], given[-1]


def _channels_last(x: Tensor, padding: tuple[int, int], copies: int) -> Tensor:
    """x with its zero padding as (N, H, W, C·copies), each channel as often as it has kernels."""
    padded = torch.nn.functional.pad(x.permute(0, 2, 3, 1), (0, 0, padding[1], padding[1], padding[0], padding[0]))
    return padded.repeat_interleave(copies, -1) if copies > 1 else padded.contiguous()


def _seen(tap: int, gap: int, step: int, count: int) -> slice:
    """The input positions that a tap sees, one per output."""
    return slice(tap * gap, tap * gap + step * (count - 1) + 1, step)
