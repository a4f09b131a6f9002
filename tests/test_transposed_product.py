"""Transposed products: fewer transpositions, the same numbers; others stay as they are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from fuseport.reparam import capture, transposed_product
from graphs import folded, operators, ready
from torch import Tensor, nn

A, B = (torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))


class Of(nn.Module):
    def __init__(self, made: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.made = made

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.made(a, b)


@pytest.mark.parametrize(
    ("made", "left"),
    [
        (lambda a, b: (a @ b.transpose(-2, -1)).transpose(-2, -1), 1),
        (lambda a, b: (a.transpose(2, 3) @ b).transpose(-1, -2), 1),
        (lambda a, b: (a.mT.exp().mT @ b.transpose(2, 3)).mT, 0),
        (lambda a, b: a[0].bmm(b[0].transpose(1, 2)).transpose(1, 2), 1),
        (lambda a, b: (a @ b[0, 0].transpose(0, 1)).permute(0, 1, -1, 2), 1),
        (lambda a, b: (a[..., :4].transpose(2, 3) @ b[..., :4].transpose(2, 3)).transpose(2, 3), 0),
    ],
)
def test_transpositions_go(made: Callable[[Tensor, Tensor], Tensor], left: int) -> None:
    result = folded(Of(made), A, B, rules=(transposed_product,))
    assert len(result.rewrites) == 1
    assert operators(result).get("transpose", 0) == left


@pytest.mark.parametrize(
    "made",
    [
        lambda a, b: (a @ b.mT.contiguous()).transpose(2, 3),
        lambda a, b: a @ b.transpose(2, 3),
        lambda a, b: (a @ b.transpose(2, 3)).permute(0, 2, 3, 1),
        lambda a, b: (lambda made: made.transpose(2, 3) + made.sum())(a @ b.transpose(2, 3)),
        lambda a, b: (lambda turned: (a @ turned).transpose(2, 3) + turned.sum())(b.transpose(2, 3)),
    ],
    ids=["no factor", "not the outcome", "other axes", "outcome read besides", "factor read besides"],
)
def test_others_are_left_alone(made: Callable[[Tensor, Tensor], Tensor]) -> None:
    assert not list(transposed_product.find(capture(ready(Of(made)), (A, B))))
