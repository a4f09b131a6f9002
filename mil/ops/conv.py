"""Convolutions (MIL: `conv`). `x` is (N, C_in, *D_in), 1 to 3 spatial axes."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .operator import Ints, Table
from .padding import flat, pads

CONV = (F.conv1d, F.conv2d, F.conv3d)
CONV_TRANSPOSE = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)


def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    strides: Ints | None = None,
    pad_type: str = "valid",
    pad: Ints | None = None,
    dilations: Ints | None = None,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation of x with `weight` (C_out, C_in/groups, *K), plus `bias` (C_out)."""
    rank = x.ndim - 2
    strides, dilations = strides or (1,) * rank, dilations or (1,) * rank
    amounts = pads(pad_type, pad, tuple(x.shape[2:]), tuple(weight.shape[2:]), strides, dilations)
    symmetric = all(before == after for before, after in amounts)
    if not symmetric:
        x = F.pad(x, flat(amounts))
    padding = [before for before, _ in amounts] if symmetric else [0] * rank
    return CONV[rank - 1](x, weight, bias, strides, padding, dilations, groups)


def conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    pad: Ints | None = None,
    output_shape: Ints | None = None,
    pad_type: str = "valid",
    strides: Ints | None = None,
    dilations: Ints | None = None,
    groups: int = 1,
) -> Tensor:
    """The transposed convolution with `weight` (C_in, C_out/groups, *K), plus `bias` (C_out).

    The full result, (n - 1) * stride + (k - 1) * dilation + 1 long, is cut by `pad` (custom) or to n * stride (same).
    `output_shape`, of full rank, overrides the length: missing elements at the end count as zero.
    """
    rank = x.ndim - 2
    strides, dilations = strides or (1,) * rank, dilations or (1,) * rank
    y = CONV_TRANSPOSE[rank - 1](x, weight, None, strides, 0, 0, groups, dilations)
    kept = kept_of_full(tuple(x.shape[2:]), tuple(y.shape[2:]), strides, pad_type, pad, output_shape)
    for axis, (before, size) in enumerate(kept, 2):
        missing = before + size - y.shape[axis]
        if missing > 0:
            y = F.pad(y, [0, 0] * (rank + 1 - axis) + [0, missing])
        y = y.narrow(axis, before, size)
    return y if bias is None else y + bias.reshape([-1] + [1] * rank)


def kept_of_full(
    size: Ints, full: Ints, strides: Ints, pad_type: str, pad: Ints | None, output_shape: Ints | None
) -> list[tuple[int, int]]:
    """What a transposed convolution keeps of its full result: (elements dropped at the start, elements kept) per axis.

    `size` and `full` are the spatial axes of the input and of the full result. More may be kept than there is.
    """
    kept = []
    for i, (n, whole) in enumerate(zip(size, full, strict=True)):
        before, length = 0, whole
        if pad_type.startswith("same"):
            length = n * strides[i]
        elif pad_type == "custom" and pad:
            before, length = pad[2 * i], whole - pad[2 * i] - pad[2 * i + 1]
        length = output_shape[2 + i] if output_shape else length
        if pad_type.startswith("same"):
            before = max(0, whole - length) // 2
        kept.append((before, length))
    return kept


COMPUTED: Table = {"conv": conv, "conv_transpose": conv_transpose}
MOVED: Table = {}
