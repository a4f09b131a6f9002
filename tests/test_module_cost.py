"""Costs per module: they add up to the whole, and tied weights are counted once."""

from __future__ import annotations

import torch
from fuseport.reparam import RULES, ModuleCost, by_module, capture, count, fold
from tiny import TINY
from torch import Tensor, nn


class Pair(nn.Module):
    """Two convolutions, the second called by hand with the weights of the first as well."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x).mean((2, 3))
        return torch.nn.functional.linear(self.second(y), self.second.weight)


def test_each_module_has_its_own_cost() -> None:
    graph = capture(Pair().eval(), (torch.rand(1, 3, 8, 8),))
    assert by_module(graph) == (
        ModuleCost("first", parameters=112, macs=8 * 8 * 4 * 27, operators=1),
        ModuleCost("", parameters=0, macs=16, operators=2),
        ModuleCost("second", parameters=20, macs=16, operators=1),
    )


def test_the_modules_add_up_to_the_whole() -> None:
    torch.manual_seed(0)
    module = TINY.build().eval()
    folded = fold(capture(module, (torch.rand(1, 3, 64, 64),)), RULES)
    rows, whole = by_module(folded.module), count(folded.module)
    assert sum(row.parameters for row in rows) == whole.parameters
    assert sum(row.macs for row in rows) == whole.total_macs
    assert sum(row.operators for row in rows) == whole.nodes
    assert len({row.path for row in rows}) == len(rows) > 20
