"""Sums of parallel branches."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from fuseport.reparam import branches, capture, conv_bn, fold
from graphs import folded, ready
from torch import Tensor, nn

RULES = (conv_bn, branches)


class Sum(nn.Module):
    """A formula in the branches' outputs and, last, the input itself."""

    def __init__(self, formula: Callable[..., Tensor], *layers: nn.Module) -> None:
        super().__init__()
        self.layers, self.formula = nn.ModuleList(layers), formula

    def forward(self, x: Tensor) -> Tensor:
        return self.formula(*(layer(x) for layer in self.layers), x)


def conv_norm(*args: int, **named: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(*args, bias=False, **named), nn.BatchNorm2d(args[1]))


def plus(*terms: Tensor) -> Tensor:
    """The sum of the branches without the input."""
    return sum(terms[1:-1], terms[0])


def plus_input(*terms: Tensor) -> Tensor:
    return sum(terms[1:], terms[0])


PICTURE = (2, 4, 7, 7)
MERGED = {
    "repvgg": Sum(plus, conv_norm(4, 4, 3, padding=1), conv_norm(4, 4, 1), nn.BatchNorm2d(4)),
    "repvgg, stride": Sum(plus, conv_norm(4, 6, 3, padding=1, stride=2), conv_norm(4, 6, 1, stride=2)),
    "mobileone": Sum(
        plus,
        nn.BatchNorm2d(4),
        conv_norm(4, 4, 1, groups=4),
        *(conv_norm(4, 4, 3, padding=1, groups=4) for _ in range(4)),
    ),
    "depthwise, residual": Sum(
        plus_input, conv_norm(4, 4, 7, padding=3, groups=4), conv_norm(4, 4, 3, padding=1, groups=4)
    ),
    "token mixer": Sum(
        lambda a, b, c, x: x + (a + b - c), nn.Conv2d(4, 4, 3, 1, 1, groups=4), nn.BatchNorm2d(4), nn.BatchNorm2d(4)
    ),
    "groups": Sum(plus, nn.Conv2d(4, 4, 3, 1, 1, groups=2), nn.Conv2d(4, 4, 1, groups=4)),
    "dense and groups": Sum(plus, nn.Conv2d(4, 8, 3, 1, 1), nn.Conv2d(4, 8, 3, 1, 1, groups=2)),
    "average": Sum(plus, nn.Conv2d(4, 4, 3, 1, 1, bias=False), nn.AvgPool2d(3, 1, 1)),
    "dilated": Sum(plus, nn.Conv2d(4, 4, 3, 1, 2, dilation=2), nn.Conv2d(4, 4, 1)),
    "rectangles": Sum(plus, nn.Conv2d(4, 4, 3, 1, 1), nn.Conv2d(4, 4, (1, 3), 1, (0, 1)), nn.Conv2d(4, 4, 1)),
    "same": Sum(plus, nn.Conv2d(4, 4, 3, padding="same"), nn.Conv2d(4, 4, 1, padding="valid")),
    "weighted": Sum(lambda a, b, x: torch.sub(a, b, alpha=3), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)),
    "with others": Sum(lambda a, b, x: a.relu() + a + x.relu() + b, nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)),
    "linear": Sum(plus, nn.Linear(7, 5), nn.Linear(7, 5, bias=False)),
}


@pytest.mark.parametrize("kind", MERGED)
def test_branches_become_one_layer(kind: str) -> None:
    result = folded(MERGED[kind], torch.randn(PICTURE), rules=RULES)
    if kind == "with others":  # a is read twice: b alone could go, and has nothing to go into
        assert not result.rewrites
    else:
        assert result.after.nodes == 1
        assert result.after.batch_norms == 0
        assert result.after.total_macs <= result.before.total_macs


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + self.layer(x)


@pytest.mark.parametrize(
    "module",
    [
        Sum(plus, nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, 1, 1, groups=4)),  # would cost more
        Sum(plus, nn.Conv2d(4, 4, 3, 1, 2, dilation=2), nn.Conv2d(4, 4, 3, 1, 1)),  # no common grid
        Sum(plus, nn.Conv2d(4, 4, 3, 1, 1), nn.AvgPool2d(3, 1, 1, count_include_pad=False)),
        Sum(lambda a, b, x: a + b.relu(), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)),
        Sum(lambda a, b, x: a + a + b.relu(), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)),
        Sum(lambda a, b, x: a + b.mean((2, 3), keepdim=True), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)),
        nn.Sequential(nn.Conv2d(4, 4, 1), Sum(lambda x: x + x.relu())),
        Tied(),
    ],
)
def test_what_does_not_merge_stays(module: nn.Module) -> None:
    result = fold(capture(ready(module), (torch.randn(PICTURE),)), RULES)
    assert not result.rewrites
    assert result.after == result.before
