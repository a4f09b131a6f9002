"""Operators without effect, and moves that amount to fewer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from fuseport.reparam import capture, fold, no_effect
from graphs import folded, ready
from torch import Tensor, nn

RULES = (no_effect,)


LOWEST, HIGHEST = torch.tensor(-torch.inf), torch.tensor(torch.inf)


class Formula(nn.Module):
    def __init__(self, formula: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.formula = formula

    def forward(self, x: Tensor) -> Tensor:
        return self.formula(x.relu()).sigmoid()


GONE = {
    "dropout": nn.Dropout(),
    "copy": lambda x: x.clone().contiguous().detach(),
    "cast": lambda x: x.float().to(torch.float32),
    "slice": lambda x: x[:, :6, 0:],
    "same shape": lambda x: x.reshape(2, 6, 4).view(2, 6, 4).expand(2, 6, 4),
    "pooling": nn.AdaptiveAvgPool1d(4),
    "infinite bounds": lambda x: x.clamp(LOWEST, HIGHEST).clamp(min=-torch.inf),
    "neutral numbers": lambda x: (0 + x * 1) / 1 - 0,
    "reshape and back": lambda x: x.flatten(1).unflatten(1, (6, 4)),
    "permuted and back": lambda x: x.transpose(1, 2).permute(0, 2, 1),
}


@pytest.mark.parametrize("kind", GONE)
def test_what_changes_nothing_goes(kind: str) -> None:
    result = folded(Formula(GONE[kind]), torch.randn(2, 6, 4), rules=RULES)
    assert result.after.operators == {"relu": 1, "sigmoid": 1}


@pytest.mark.parametrize(
    ("formula", "left"),
    [
        (lambda x: x.reshape(12, 4).reshape(3, 16), {"reshape"}),
        (lambda x: x.unsqueeze(0).flatten(0, 2), {"reshape"}),
        (lambda x: x.transpose(0, 1).transpose(1, 2), {"permute"}),
        (lambda x: x.transpose(1, 2).contiguous().view(2, 24), {"transpose", "reshape"}),
        (lambda x: x.flatten(1).reshape_as(x[:, :, :2].repeat(1, 1, 2)), set()),
    ],
)
def test_two_moves_become_one(formula: Callable[[Tensor], Tensor], left: set[str]) -> None:
    result = folded(Formula(formula), torch.randn(2, 6, 4), rules=RULES)
    assert set(result.after.operators) == {"relu", "sigmoid"} | left


@pytest.mark.parametrize(
    "formula",
    [
        lambda x: x[:, :5],
        lambda x: x.double(),
        lambda x: x.expand(2, 2, 6, 4),
        lambda x: x * 1 + 2,
        lambda x: x.transpose(1, 2).reshape(2, 24),
        lambda x: 1 / x,
        lambda x: x.clamp(max=6),
        lambda x: torch.nn.functional.dropout(x, 0.0, training=True),
    ],
)
def test_what_has_an_effect_stays(formula: Callable[[Tensor], Tensor]) -> None:
    result = fold(capture(ready(Formula(formula)), (torch.rand(2, 6, 4) + 1,)), RULES)
    assert all("mul" in step.before[0] for step in result.rewrites)
    assert len(result.after.operators) >= 3


def test_an_open_batch_stays_open() -> None:
    module = Formula(lambda x: x.flatten(1).unflatten(1, (4, 6)).flatten(0, 1))
    captured = capture(module.eval(), (torch.randn(2, 6, 4),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    result = fold(captured, RULES)
    assert result.after.operators == {"relu": 1, "reshape": 1, "sigmoid": 1}
    x = torch.randn(5, 6, 4)
    torch.testing.assert_close(result.module(x), module(x))
