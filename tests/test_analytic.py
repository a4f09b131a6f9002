"""Which stretches are judged on random values, and which need those that a model makes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fuseport.reparam import capture
from fuseport.reparam.analytic import is_analytic
from torch import Tensor, nn


class Calls(nn.Module):
    def __init__(self, make: Any) -> None:
        super().__init__()
        self.make = make
        self.conv, self.norm = nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)
        self.register_buffer("table", torch.arange(4))

    def forward(self, x: Tensor) -> Any:
        return self.make(self, x)


@pytest.mark.parametrize(
    ("make", "is_one"),
    [
        (lambda m, x: m.norm(m.conv(x)).relu().flatten(1).softmax(1), True),
        (lambda m, x: x.chunk(4, 1)[0] * x.mean((2, 3), keepdim=True).sigmoid(), True),
        (lambda m, x: torch.div(x, 2.5), True),
        (lambda m, x: x * (m.table.float() + 1).sqrt().clamp(max=1.5)[:, None, None], True),
        (lambda m, x: x / x.mean(1, keepdim=True), False),
        (lambda m, x: torch.div(x, 2.5, rounding_mode="floor"), False),
        (lambda m, x: x.to(torch.int32) * 2.5, False),
        (lambda m, x: m.conv(x).clamp(0, 6), False),
        (lambda m, x: nn.functional.hardswish(x), False),
        (lambda m, x: (x * x).sum(1).sqrt(), False),
        (lambda m, x: x.argmax(1), False),
        (lambda m, x: nn.functional.max_pool2d(x, 2), False),
    ],
)
def test_it_is_a_region_of_analytic_calls(make: Any, is_one: bool) -> None:
    graph = capture(Calls(make).eval(), (torch.randn(1, 4, 6, 6),)).graph
    calls = [node for node in graph.nodes if node.op == "call_function"]
    assert is_analytic(calls, graph.find_nodes(op="placeholder")) is is_one


def test_what_reads_integers_is_none() -> None:
    graph = capture(nn.Embedding(4, 2).eval(), (torch.arange(3),)).graph
    assert not is_analytic([], graph.find_nodes(op="placeholder"))
