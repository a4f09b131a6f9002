"""Attention as the products that it is: softmax(q kᵀ · scale + mask) v.

torch's ONNX exporter writes `scaled_dot_product_attention` for four dimensions alone (windows have five), with shapes
computed at run time, and it takes a masked one apart such that a later `view` no longer fits the memory layout (torch
2.14: "Cannot view a tensor with shape …"). Said in products beforehand, all of them convert, in half the nodes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torch.export import ExportedProgram

SDPA = torch.ops.aten.scaled_dot_product_attention.default


def expand_attention(program: ExportedProgram, *, keep_plain: bool = False) -> ExportedProgram:
    """`program` with attention as products; itself where there is none.

    `keep_plain` leaves an attention over four dimensions without mask as it is, for formats that have the operator.
    """

    def expand(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *rest: Any, **named: Any):
        if keep_plain and attn_mask is None and query.ndim == key.ndim == value.ndim == 4:
            return NotImplemented
        return attention(query, key, value, attn_mask, *rest, **named)

    if not program.graph.find_nodes(op="call_function", target=SDPA):
        return program
    return program.run_decompositions({SDPA: expand})


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """`scaled_dot_product_attention` at inference, of q (…, L, E), k (…, S, E), v (…, S, V): (…, L, V)."""
    if dropout_p:
        return NotImplemented
    if enable_gqa:  # heads of k and v serve several of q
        shared = query.shape[-3] // key.shape[-3]
        key, value = key.repeat_interleave(shared, -3), value.repeat_interleave(shared, -3)
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = (query if factor == 1 else query * factor) @ key.transpose(-2, -1)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    if attn_mask is None:
        return scores.softmax(-1) @ value
    if attn_mask.dtype is not torch.bool:
        return (scores + attn_mask).softmax(-1) @ value
    lowest = torch.finfo(scores.dtype).min  # not -inf: a row that may see nothing gives zeros, and no NaN
    seen = torch.where(attn_mask, scores, lowest).softmax(-1)
    return torch.where(attn_mask, seen, 0.0) @ value
