"""Depthwise convolutions with several outputs per channel: split in plain ones, unless the order would be seen."""

from __future__ import annotations

import pytest
import torch
from fuseport.reparam import capture, multiplied
from graphs import folded, operators, ready
from torch import Tensor, nn

X = torch.randn(2, 4, 9, 9, generator=torch.Generator().manual_seed(0))


def net(
    outputs: int, *between: nn.Module, groups: int = 4, last: nn.Module | None = None, bias: bool = True
) -> nn.Module:
    first = nn.Conv2d(4, outputs, 3, stride=2, padding=1, groups=groups, bias=bias)
    return nn.Sequential(first, *between, last or nn.Conv2d(outputs, 5, 1))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("outputs", [8, 12, 16])
def test_it_becomes_plain_ones_side_by_side(outputs: int, bias: bool) -> None:
    result = folded(net(outputs, nn.GELU("tanh"), bias=bias), X)
    parts = outputs // 4
    assert [step.rule for step in result.rewrites] == ["depthwise-multiplier"]
    assert operators(result) == {"conv2d": parts + 1, "cat": 1, "gelu": 1}
    assert result.after.total_macs == result.before.total_macs
    assert result.after.parameters == result.before.parameters


def test_any_dense_kernel_may_follow_and_a_tie_may_not() -> None:
    assert len(folded(net(8, last=nn.Conv2d(8, 5, 3, padding=1)), X, rules=(multiplied,)).rewrites) == 1
    tied = net(8)
    tied[0].bias = nn.Parameter(torch.zeros(8))  # pyright: ignore
    tied[1].weight = nn.Parameter(tied[0].weight.detach().new_zeros(8, 8, 1, 1))  # pyright: ignore
    tied[1].bias = tied[0].bias  # pyright: ignore
    assert not list(multiplied.find(capture(ready(tied), (X,))))


class ReadTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(4, 8, 3, groups=4), nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        made = self.first(x)
        return made + self.last(made)


@pytest.mark.parametrize(
    "module",
    [
        net(4),
        net(8, groups=2),
        net(20),
        net(8, nn.Softmax(1)),
        net(8, last=nn.Conv2d(8, 8, 1, groups=2)),
        net(8, last=nn.ReLU()),
        ReadTwice(),
    ],
    ids=["one each", "groups of two", "five each", "mixes channels", "groups behind", "nothing behind", "read twice"],
)
def test_others_are_left_alone(module: nn.Module) -> None:
    assert not list(multiplied.find(capture(ready(module), (X,))))
