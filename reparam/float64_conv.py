"""Depthwise convolutions in float64 on small pieces, several times faster than torch has them.

The proofs run pieces of a few pixels of hundreds of channels (`window.py`). There torch, whose vector code for
convolutions has no float64, loops over the channels, five microseconds each. With the channels last, a depthwise
convolution is one multiply-add over all of them per tap: y[p, c] = Σₖ w[c, k]·x[p·stride + k·dilation − padding, c].
Same products, same order of the sum. Dense convolutions are matrix products in torch already.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from .graph import arguments, is_op, shape

_SMALL = 256
"""Pixels of an output up to which this is the faster way; torch loops over fewer, longer rows from there on."""


def is_depthwise(node: Node) -> bool:
    """Whether `depthwise` can stand for this call; whether it is worth while depends on the piece."""
    if not is_op(node, "conv2d") or len(shape(node)) != 4 or node.kwargs:
        return False
    given = arguments(node)
    return given["groups"] > 1 and shape(given["weight"])[1] == 1 and not isinstance(given["padding"], str)


def depthwise(call: Any, x: Tensor, weight: Tensor, bias: Tensor | None, *rest: Any) -> Tensor:
    """What `call`, aten's conv2d, makes of x (N, C, H, W) and weight (multiple of C, 1, kH, kW)."""
    stride, padding, dilation = (_pair(rest, place, absent) for place, absent in ((0, 1), (1, 0), (2, 1)))
    size = tuple(
        (length + 2 * pad - gap * (taps - 1) - 1) // step + 1
        for length, pad, gap, taps, step in zip(x.shape[2:], padding, dilation, weight.shape[2:], stride, strict=True)
    )
    if size[0] * size[1] > _SMALL or min(size) < 1:
        return call(x, weight, bias, *rest)
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
