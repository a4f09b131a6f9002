"""Costs operator by operator, against closed forms and the whole graph's count."""

import pytest
import torch
from contract import FULL_SIZE, daily_first
from fuseport import models
from fuseport.reparam import capture, count
from fuseport.reparam.layer_cost import LayerCost, layers
from torch import nn


def only(module: nn.Module, *shape: int) -> LayerCost:
    """The one operator of a module that has no other."""
    with torch.device("meta"):
        (found,) = layers(capture(module.to("meta").eval(), (torch.zeros(*shape),)))
    return found


def test_a_grouped_convolution_in_closed_form():
    found = only(nn.Conv2d(8, 12, 3, stride=2, padding=1, groups=4), 1, 8, 10, 10)
    assert found.macs == (12 * 5 * 5) * (8 // 4 * 3 * 3)
    assert found.parameters == 12 * 2 * 9 + 12
    assert found.weight_bytes == 4 * found.parameters
    assert (found.read_bytes, found.written_bytes) == (4 * 8 * 10 * 10, 4 * 12 * 5 * 5)


def test_a_linear_layer_in_closed_form():
    found = only(nn.Linear(7, 5), 1, 3, 7)
    assert (found.macs, found.parameters) == (3 * 7 * 5, 7 * 5 + 5)
    assert (found.read_bytes, found.written_bytes) == (4 * 21, 4 * 15)


def test_a_view_moves_nothing_and_an_activation_its_bytes():
    assert only(nn.Flatten(), 1, 4, 5).written_bytes == 0
    found = only(nn.GELU(), 1, 4, 5)
    assert (found.macs, found.read_bytes, found.written_bytes) == (0, 80, 80)


class Twice(nn.Module):
    """One linear layer called twice, and a product of what comes out."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(6, 6, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.shared(self.shared(x))
        return x @ x.transpose(-1, -2)


def test_a_weight_that_is_read_twice_is_counted_once_and_its_macs_twice():
    found = layers(capture(Twice().eval(), (torch.zeros(1, 3, 6),)))
    assert [layer.parameters for layer in found] == [36, 0, 0, 0]
    assert [layer.macs for layer in found] == [3 * 36, 3 * 36, 0, 3 * 6 * 3]
    assert [layer.module for layer in found] == ["shared", "shared", "", ""]


@pytest.mark.parametrize("name", daily_first(FULL_SIZE))
def test_the_sums_are_the_table_s_figures_without_any_weights(name: str):
    variant, side = models.find(name), models.find(name).preprocessing.size
    with torch.device("meta"):
        captured = capture(models.create(name), (torch.zeros(1, 3, side, side),))
    found = layers(captured)
    assert sum(layer.parameters for layer in found) == variant.parameters == count(captured).parameters
    assert sum(layer.macs for layer in found) == variant.macs
    assert all(layer.module for layer in found if layer.macs and layer.operator == "conv2d")
