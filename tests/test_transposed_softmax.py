"""Transposed attention: fewer transpositions, the same numbers; and where there is nothing to gain or it is another."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from fuseport.reparam import capture, transposed_softmax
from graphs import folded, operators, ready
from torch import Tensor, nn


class Attention(nn.Module):
    def __init__(self, scores: Callable[[Tensor, Tensor], Tensor], axis: int = -1, *, read: bool = False) -> None:
        super().__init__()
        self.scores, self.axis, self.read = scores, axis, read

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        attention = self.scores(q, k).softmax(self.axis)
        return k.exp() @ attention.transpose(-2, -1) + (attention.sum() if self.read else 0)


Q, K = (torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))


@pytest.mark.parametrize(
    ("scores", "inputs", "left"),
    [
        (lambda q, k: q.transpose(-2, -1) @ k, (Q, K), 1),
        (lambda q, k: q @ k.transpose(-2, -1), (K.mT.contiguous(), Q.mT.contiguous()), 1),
        (lambda q, k: q.transpose(1, 2).bmm(k.mT.transpose(-2, -1)), (Q, K), 1),
        (lambda q, k: q.transpose(-2, -1) @ k[:, :, :3].transpose(1, 2), (Q[..., :3], K[..., :3]), 0),
    ],
)
def test_transpositions_go(scores: Callable[..., Tensor], inputs: tuple[Tensor, ...], left: int) -> None:
    class Values(Attention):
        def forward(self, q: Tensor, k: Tensor) -> Tensor:
            return self.scores(q, k).softmax(self.axis).transpose(-2, -1).exp()

    result = folded(Values(scores), *inputs, rules=(transposed_softmax,))
    assert len(result.rewrites) == 1
    assert operators(result).get("transpose", 0) <= max(left, 1)


@pytest.mark.parametrize(
    "module",
    [
        Attention(lambda q, k: q.transpose(-2, -1) @ k, axis=1),
        Attention(lambda q, k: q.transpose(-2, -1) @ k, read=True),
        Attention(lambda q, k: q.mT.contiguous() @ k),
        Attention(lambda q, k: (q.transpose(-2, -1) @ k) * 2),
        Attention(lambda q, k: (q.transpose(-2, -1) @ k).transpose(-2, -1)),
    ],
    ids=["other axis", "read besides", "nothing transposed", "something between", "scores are no product"],
)
def test_others_are_left_alone(module: nn.Module) -> None:
    assert not list(transposed_softmax.find(capture(ready(module), (Q, K))))
