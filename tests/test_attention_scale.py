"""The scale of an attention: into queries or keys, explicit or the usual one; and where it has to stay."""

from __future__ import annotations

import pytest
import torch
from fuseport.reparam import attention_scale, capture
from graphs import folded, operators, ready
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Heads of width 4, as timm's vision transformers make them; `scale` as it is given to torch."""

    def __init__(self, scale: float | None = None, *, normed: bool = False) -> None:
        super().__init__()
        self.qkv, self.scale = nn.Linear(8, 24), scale
        self.norm = nn.functional.normalize if normed else lambda value, dim: value

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).reshape(2, 5, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        return F.scaled_dot_product_attention(self.norm(q, dim=-1), k, v, scale=self.scale)


def _scales(module: nn.Module) -> list[object]:
    result = folded(module, torch.randn(2, 5, 8))
    return [
        node.kwargs.get("scale")
        for node in result.module.graph.nodes
        if node.op == "call_function" and "attention" in str(node.target)
    ]


@pytest.mark.parametrize("scale", [None, 0.3, -2.0])
def test_the_scale_goes_into_the_layer(scale: float | None) -> None:
    assert _scales(Attention(scale)) == [1.0]


def test_where_the_queries_are_normalized_it_goes_into_the_keys() -> None:
    assert _scales(Attention(normed=True)) == [1.0]


def test_a_scale_of_one_is_left_alone() -> None:
    captured = capture(ready(Attention(1.0)), (torch.randn(2, 5, 8),))
    assert not list(attention_scale.find(captured))


class Shared(nn.Module):
    """One layer makes queries and keys: its weight cannot take in a scale once, and nothing else can."""

    def __init__(self, *, read: bool) -> None:
        super().__init__()
        self.layer, self.read = nn.Linear(4, 4), read

    def forward(self, x: Tensor) -> Tensor:
        made = self.layer(x)
        out = F.scaled_dot_product_attention(made, made if not self.read else x, x)
        return out + made if self.read else out


@pytest.mark.parametrize("read", [False, True])
def test_it_stays_where_others_read_what_it_would_scale(read: bool) -> None:
    result = folded(Shared(read=read), torch.randn(1, 1, 5, 4), rules=(attention_scale,))
    assert not result.rewrites
    assert operators(result)["scaled_dot_product_attention"] == 1
