"""Two layers in a row as one."""

from __future__ import annotations

import pytest
import torch
from fuseport.reparam import capture, fold, serial
from graphs import folded, ready
from torch import Tensor, nn

RULES = (serial,)
PICTURE = (2, 6, 8, 8)
MERGED = {
    "linear": (nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 4)), (2, 3, 6)),
    "linear, no bias": (nn.Sequential(nn.Linear(6, 6, bias=False), nn.Linear(6, 4, bias=False)), (2, 6)),
    "three": (nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6, bias=False), nn.Linear(6, 4)), (2, 6)),
    "pointwise": (nn.Sequential(nn.Conv2d(6, 6, 1), nn.Conv2d(6, 4, 1)), PICTURE),
    "pointwise, then a kernel": (nn.Sequential(nn.Conv2d(6, 6, 1), nn.Conv2d(6, 4, 3, stride=2)), PICTURE),
    "no bias, then padding": (nn.Sequential(nn.Conv2d(6, 6, 1, bias=False), nn.Conv2d(6, 4, 3, 1, 1)), PICTURE),
    "kernel, then pointwise": (nn.Sequential(nn.Conv2d(6, 6, (3, 5), 2, 2, 2), nn.Conv2d(6, 4, 1)), PICTURE),
    "same, then pointwise": (nn.Sequential(nn.Conv2d(6, 6, 3, padding="same"), nn.Conv2d(6, 4, 1)), PICTURE),
}


@pytest.mark.parametrize("kind", MERGED)
def test_two_layers_become_one(kind: str) -> None:
    module, shape = MERGED[kind]
    result = folded(module, torch.randn(shape), rules=RULES)
    assert result.after.nodes == 1
    assert result.after.total_macs < result.before.total_macs


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.layer(x))


class ReadTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        y = self.one(x)
        return self.two(y) + y


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Sequential(nn.Linear(6, 1), nn.Linear(1, 6)), (2, 6)),  # a product of rank one
        (nn.Sequential(nn.Conv2d(6, 6, 1), nn.Conv2d(6, 4, 3, padding=1)), PICTURE),
        (nn.Sequential(nn.Conv2d(6, 6, 3), nn.Conv2d(6, 4, 3)), PICTURE),
        (nn.Sequential(nn.Conv2d(6, 6, 1, stride=2), nn.Conv2d(6, 4, 3)), PICTURE),
        (nn.Sequential(nn.Conv2d(6, 6, 3), nn.Conv2d(6, 4, 1, stride=2)), PICTURE),
        (nn.Sequential(nn.Conv2d(6, 6, 1, groups=2), nn.Conv2d(6, 4, 1)), PICTURE),
        (nn.Sequential(nn.Conv2d(6, 8, 3, stride=4), nn.Conv2d(8, 16, 1)), (2, 6, 8, 8)),  # more weights
        (Shared(), (2, 6)),
        (ReadTwice(), (2, 6)),
    ],
)
def test_what_is_not_exact_or_costs_more_stays(module: nn.Module, shape: tuple[int, ...]) -> None:
    result = fold(capture(ready(module), (torch.randn(shape),)), RULES)
    assert not result.rewrites
    assert result.after == result.before


class Widening(nn.Module):
    """A feed-forward block behind a layer that widens, whose output is added again, as in RepViT's downsampling."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.widen, self.up, self.down = nn.Conv2d(4, width, 1), nn.Conv2d(width, 16, 1), nn.Conv2d(16, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.widen(x)
        return y + self.down(self.up(y).relu())


def test_a_layer_passes_by_one_that_others_read_where_that_makes_it_smaller() -> None:
    result = folded(Widening(8), torch.randn(1, 4, 5, 5), rules=RULES)
    assert len(result.rewrites) == 1
    assert result.after.nodes == result.before.nodes
    assert result.before.total_macs - result.after.total_macs == 16 * (8 - 4) * 25
    assert result.before.parameters - result.after.parameters == 16 * (8 - 4)
    assert set(result.module.state_dict()) == {
        f"{name}.{kind}" for name in ("widen", "up", "down") for kind in ("weight", "bias")
    }


def test_it_does_not_pass_by_one_that_narrows() -> None:
    result = fold(capture(ready(Widening(4)), (torch.randn(1, 4, 5, 5),)), RULES)
    assert not result.rewrites
