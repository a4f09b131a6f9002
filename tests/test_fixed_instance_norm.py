"""An instance norm with stored statistics folds like the batch norm that it is; one with the picture's own stays."""

from __future__ import annotations

import pytest
import torch
from fuseport.reparam import RULES, capture, fold
from graphs import ready
from torch import nn


@pytest.mark.parametrize(
    ("kind", "conv", "x"),
    [
        (nn.InstanceNorm1d, nn.Conv1d, torch.randn(2, 3, 9)),
        (nn.InstanceNorm2d, nn.Conv2d, torch.randn(2, 3, 9, 8)),
        (nn.InstanceNorm3d, nn.Conv3d, torch.randn(2, 3, 5, 4, 3)),
    ],
)
@pytest.mark.parametrize("affine", [True, False])
def test_it_goes_into_the_convolution(
    kind: type[nn.Module], conv: type[nn.Module], x: torch.Tensor, affine: bool
) -> None:
    module = ready(nn.Sequential(conv(3, 4, 3), kind(4, affine=affine, track_running_stats=True)))
    result = fold(capture(module, (x,)), RULES)
    assert [step.rule for step in result.rewrites] == ["fixed-instance-norm", "conv-bn"]
    assert sum(result.after.operators.values()) == 1
    torch.testing.assert_close(result.module(x), module(x), rtol=1e-5, atol=1e-5)


def test_one_that_takes_the_statistics_of_the_picture_stays() -> None:
    module = ready(nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4, affine=True)))
    assert not fold(capture(module, (torch.randn(2, 3, 9, 8),)), RULES).rewrites
