"""An identity that is added to a convolution goes into its kernel."""

from __future__ import annotations

import pytest
import torch
from fuseport.reparam import capture, fold, residual
from graphs import folded, ready
from torch import Tensor, nn

RULES = (residual,)


class Add(nn.Module):
    def __init__(self, layer: nn.Module, *, swap: bool = False, alpha: float = 1) -> None:
        super().__init__()
        self.layer, self.swap, self.alpha = layer, swap, alpha

    def forward(self, x: Tensor) -> Tensor:
        sides = (self.layer(x), x) if self.swap else (x, self.layer(x))
        return torch.add(*sides, alpha=self.alpha)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 4, 3, padding=1, groups=4),
        nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False),
        nn.Conv2d(4, 4, (5, 3), padding=(4, 1), dilation=(2, 1)),
        nn.Conv2d(4, 4, 1),
        nn.Conv2d(4, 4, 5, padding="same"),
    ],
    ids=["depthwise", "grouped", "dilated", "pointwise", "same"],
)
@pytest.mark.parametrize(("swap", "alpha"), [(False, 1), (True, 1), (False, 3), (True, -2)])
def test_identity_is_folded(layer: nn.Conv2d, swap: bool, alpha: float) -> None:
    result = folded(Add(layer, swap=swap, alpha=alpha), torch.randn(2, 4, 8, 8), rules=RULES)
    assert result.after.nodes == 1
    assert result.after.parameters == result.before.parameters


class ReadTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        return x + y + y.sigmoid()


@pytest.mark.parametrize(
    ("module", "shape", "reason"),
    [
        (Add(nn.Conv2d(4, 4, 3, padding=(1, 0))), (1, 4, 8, 3), "not centred"),
        (Add(nn.Conv2d(4, 4, 3, stride=2, padding=1)), (1, 4, 1, 1), "not centred"),
        (Add(nn.Conv2d(1, 4, 1)), (2, 1, 4, 4), "as many inputs as outputs"),
        (ReadTwice(), (1, 4, 8, 8), "also read by others"),
    ],
)
def test_what_is_not_exact_is_refused(module: nn.Module, shape: tuple[int, ...], reason: str) -> None:
    result = fold(capture(ready(module), (torch.randn(shape),)), RULES)
    assert not result.rewrites
    assert reason in result.refusals[0].reason
