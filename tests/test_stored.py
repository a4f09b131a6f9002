"""Views of weights become weights."""

from __future__ import annotations

import pytest
import torch
from fuseport.reparam import capture, fold, stored
from graphs import folded, ready
from torch import Tensor, nn

RULES = (stored,)


class AsConvolution(nn.Module):
    """A linear layer's weight, used as a 1×1 kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 6)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, self.linear.weight.reshape(6, 4, 1, 1), self.linear.bias)


class Chain(AsConvolution):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).transpose(1, 2) @ self.linear.weight.transpose(0, 1).unsqueeze(0).contiguous()


@pytest.mark.parametrize(
    ("module", "left"), [(AsConvolution(), {"conv2d"}), (Chain(), {"flatten", "transpose", "matmul"})]
)
def test_the_view_is_stored_under_the_name_of_the_weight(module: nn.Module, left: set[str]) -> None:
    result = folded(module, torch.randn(2, 4, 3, 3), rules=RULES)
    assert set(result.after.operators) == left
    assert "linear.weight" in dict(result.module.named_parameters())
    assert result.after.parameters == result.before.parameters


class ReadTwice(AsConvolution):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.linear(x.movedim(1, -1)).movedim(-1, 1)


class Grows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.row = nn.Parameter(torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.row.expand(3, 4)


@pytest.mark.parametrize(("module", "shape"), [(ReadTwice(), (2, 4, 3, 3)), (Grows(), (3, 4))])
def test_a_weight_with_another_reader_or_a_copy_that_grows_stays(module: nn.Module, shape: tuple[int, ...]) -> None:
    result = fold(capture(ready(module), (torch.randn(shape),)), RULES)
    assert not result.rewrites
