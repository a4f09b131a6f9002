"""Another order of channels: taken up by every layer that reads or meets them, or not begun."""

from __future__ import annotations

import pytest
import torch
from fuseport.reparam import capture, multiplied
from fuseport.reparam.channel_order import reach
from graphs import folded, operators, ready
from torch import Tensor, nn

X = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))


class Gated(nn.Module):
    """A depthwise layer with two outputs per channel, a gate computed from their means, and a classifier."""

    def __init__(self, *, stride: int = 1, padding: int = 1, gate: str = "squeeze") -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 8, 3, stride=stride, padding=padding, groups=4)
        self.down, self.up = nn.Conv2d(8, 3, 1), nn.Conv2d(3, 8, 1)
        self.own, self.head = nn.Conv2d(8, 8, 1), nn.Linear(8, 5)
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.head(nn.functional.gelu(self.gated(x)).mean((2, 3)))

    def gated(self, x: Tensor) -> Tensor:
        if self.gate == "squeeze":
            return x * self.up(self.down(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
        if self.gate == "own":
            return x * self.own(x) + self.up(self.down(x))
        if self.gate == "groups":
            return x * nn.functional.conv2d(x, self.own.weight[:, :1], groups=8)
        if self.gate == "one for all":
            return x * self.own(x)[:, :1]
        return x * {"itself": x.sigmoid(), "number": 3.0, "softmax": x.softmax(1)}[self.gate]


@pytest.mark.parametrize("gate", ["squeeze", "own", "itself", "number"])
def test_an_order_is_taken_up_by_gates_and_what_is_behind_them(gate: str) -> None:
    result = folded(Gated(gate=gate), X, rules=(multiplied,))
    assert [step.rule for step in result.rewrites] == ["depthwise-multiplier"]
    assert operators(result)["cat"] == 1
    assert result.after.total_macs == result.before.total_macs
    assert result.after.parameters == result.before.parameters


def test_copies_of_the_input_where_it_is_not_larger_else_parts_of_the_output() -> None:
    def convolutions(**options: int) -> int:
        return operators(folded(Gated(**options), X, rules=(multiplied,)))["conv2d"]

    assert convolutions() == 3
    assert convolutions(stride=2) == convolutions(padding=0) == 4


@pytest.mark.parametrize("gate", ["groups", "one for all", "softmax"])
def test_what_would_see_the_order_is_refused(gate: str) -> None:
    graph = capture(ready(Gated(gate=gate)), (X,))
    layer = next(node for node in graph.graph.nodes if node.name == "conv2d")
    assert reach(graph, layer, set()) is None
    assert not list(multiplied.find(graph))


def test_a_tied_weight_is_refused() -> None:
    graph = capture(ready(Gated()), (X,))
    layer = next(node for node in graph.graph.nodes if node.name == "conv2d")
    for name in ("down", "up", "head"):
        assert reach(graph, layer, {f"{name}.weight"}) is None
