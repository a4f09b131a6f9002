"""Run-time quantisation (MIL, from iOS17 on): real = (stored - zero_point) * scale, per tensor or per `axis`."""

from __future__ import annotations

import torch
from torch import Tensor

from .operator import Table


def quantize(
    input: Tensor, scale: Tensor, output_dtype: str, zero_point: Tensor | None = None, axis: int = 0
) -> Tensor:
    """clamp(round(input / scale) + zero_point) in int8 or uint8."""
    low, high = (-128, 127) if output_dtype == "int8" else (0, 255)
    shift = 0 if zero_point is None else along_axis(zero_point, input.ndim, axis)
    stored = torch.round(input / along_axis(scale, input.ndim, axis)) + shift
    return stored.clamp(low, high).to(torch.int8 if low else torch.uint8)


def dequantize(input: Tensor, scale: Tensor, zero_point: Tensor | None = None, axis: int = 0) -> Tensor:
    """(input - zero_point) * scale, in the type of `scale`."""
    stored = input.to(scale.dtype)
    if zero_point is not None:
        stored = stored - along_axis(zero_point.to(scale.dtype), input.ndim, axis)
    return stored * along_axis(scale, input.ndim, axis)


def along_axis(vector: Tensor, rank: int, axis: int) -> Tensor:
    """A scalar as it is, a vector shaped to broadcast over `axis` of a tensor of `rank`."""
    if vector.numel() == 1:
        return vector.reshape(())
    return vector.reshape([-1 if i == axis % rank else 1 for i in range(rank)])


COMPUTED: Table = {"quantize": quantize, "dequantize": dequantize}
MOVED: Table = {}
