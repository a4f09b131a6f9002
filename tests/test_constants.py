"""What is computed from stored numbers: once, where it is the same every time and not too large."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from fuseport.reparam import capture, constants
from graphs import folded, operators, ready
from torch import Tensor, nn

X = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))


class Stored(nn.Module):
    """A formula in the value, a parameter and a buffer of indices."""

    def __init__(self, formula: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.formula, self.table = formula, nn.Parameter(torch.empty(3, 4))
        self.register_buffer("places", torch.tensor([2, 0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.formula(x, self.table, self.places)  # pyright: ignore


@pytest.mark.parametrize(
    "formula",
    [
        lambda x, table, places: x + table[places],
        lambda x, table, places: x * (table.exp().sum(0) + 1),
        lambda x, table, places: x + torch.arange(4).float() / 3,
        lambda x, table, places: x + torch.linspace(0, 1, 4) * table[0],
        lambda x, table, places: x * (rows := table[places])[0] + rows[1],
        lambda x, table, places: x @ torch.eye(4) + (places.flip(0) * 2).float()[:, None],
    ],
)
def test_it_is_computed_once(formula: Callable[..., Tensor]) -> None:
    result = folded(Stored(formula), X, rules=(constants,))
    assert result.rewrites
    assert not result.refusals
    assert set(operators(result)) <= {"add", "mul", "matmul"}


def test_a_parameter_stays_one_under_its_name() -> None:
    result = folded(Stored(lambda x, table, places: x + table[places]), X, rules=(constants,))
    assert {name: tuple(value.shape) for name, value in result.module.named_parameters()} == {"table": (2, 4)}


@pytest.mark.parametrize(
    ("formula", "largest"),
    [
        (lambda x, table, places: x + torch.rand(4), constants.LARGEST),
        (lambda x, table, places: x[places.flip(0)], constants.LARGEST),
        (lambda x, table, places: x + table.sum(0) * x, 0),
        (lambda x, table, places: x.sum() + table[:, None].expand(3, 9, 4) * 2, 8),
    ],
    ids=["random", "integers", "none of a value", "larger than what it is made of"],
)
def test_others_are_left_alone(formula: Callable[..., Tensor], largest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "LARGEST", largest)
    found = list(constants.find(capture(ready(Stored(formula)), (X,))))
    assert [match.outputs[0].name for match in found] == (["sum_1"] if largest == 0 else [])
