"""Products of matrices (MIL: `linear`, and iOS18's `transformers`).

Operands may be integers, floats, or both from iOS17 on: they meet in the wider type.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .operator import Table, Tensors


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (*, in) times `weight` (out, in) transposed, plus `bias` (out)."""
    if x.dtype != weight.dtype or (bias is not None and bias.dtype != x.dtype):
        dtype = torch.promote_types(x.dtype, weight.dtype)
        dtype = dtype if bias is None else torch.promote_types(dtype, bias.dtype)
        x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    return F.linear(x, weight, bias)


def matmul(x: Tensor, y: Tensor, transpose_x: bool = False, transpose_y: bool = False) -> Tensor:
    """The product over the last two axes, broadcast over the others; transposing a vector does nothing."""
    if x.dtype != y.dtype:
        dtype = torch.promote_types(x.dtype, y.dtype)
        x, y = x.to(dtype), y.to(dtype)
    left = x.transpose(-1, -2) if transpose_x and x.ndim > 1 else x
    right = y.transpose(-1, -2) if transpose_y and y.ndim > 1 else y
    return torch.matmul(left, right)


def einsum(values: Tensors, equation: str) -> Tensor:
    """Einstein's sum over the repeated letters of `equation`."""
    return torch.einsum(equation, *values)


def scaled_dot_product_attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    """softmax(query key' / sqrt(E) + mask) value (Vaswani et al., arXiv 1706.03762), E the length of the last axis.

    A boolean mask keeps where it is true; a float mask is added.
    """
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, -torch.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask
    return torch.softmax(scores, -1) @ value


COMPUTED: Table = {
    "linear": linear,
    "matmul": matmul,
    "einsum": einsum,
    "scaled_dot_product_attention": scaled_dot_product_attention,
}
MOVED: Table = {}
