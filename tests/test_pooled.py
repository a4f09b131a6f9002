"""Global pooling before a classifier: one mean; and pools that are not global, or flattened into something else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from fuseport.reparam import capture, fold, pooled
from graphs import Apply, folded, operators, ready
from torch import Tensor, nn

X = torch.randn(2, 3, 4, 4)


@pytest.mark.parametrize(
    "formula",
    [
        lambda x: nn.functional.adaptive_avg_pool2d(x, 1).flatten(1),
        lambda x: nn.functional.adaptive_avg_pool2d(x, (1, 1)).reshape(2, 3),
        lambda x: x.mean((2, 3), keepdim=True).flatten(1),
        lambda x: x.mean((-1, 2), keepdim=True).view(2, -1),
        lambda x: nn.functional.adaptive_avg_pool1d(x.flatten(2), 1).squeeze(-1),
        lambda x: x.mean(-1, keepdim=True).squeeze(-1),
    ],
)
def test_one_mean_is_left(formula: Callable[[Tensor], Tensor]) -> None:
    result = folded(Apply(formula), X, rules=(pooled,))
    assert [step.rule for step in result.rewrites] == ["pooled-flat"]
    assert not {"squeeze", "view", "adaptive_avg_pool2d"} & set(operators(result))


@pytest.mark.parametrize(
    "formula",
    [
        lambda x: nn.functional.adaptive_avg_pool2d(x, 2).flatten(1),
        lambda x: x.mean((2, 3), keepdim=True).flatten(0),
        lambda x: x.mean(1, keepdim=True).flatten(1),
        lambda x: x.mean((2, 3)).unsqueeze(0),
        lambda x: (pool := x.mean((2, 3), keepdim=True)).flatten(1) + pool.sum(),
    ],
)
def test_others_are_left_alone(formula: Callable[[Tensor], Tensor]) -> None:
    assert not list(pooled.find(capture(ready(Apply(formula)), (X,))))


def test_an_open_batch_stays_open() -> None:
    module = ready(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    captured = capture(module, (X,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    result = fold(captured, (pooled,))
    assert operators(result) == {"mean": 1}
    assert result.module(X[:1]).shape == (1, 3)
