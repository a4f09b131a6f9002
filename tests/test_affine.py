"""Operators with fixed numbers as affine maps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from fuseport.reparam import capture
from fuseport.reparam.affine import affine, affine_of
from graphs import ready
from torch import Tensor, nn


class Formula(nn.Module):
    def __init__(self, formula: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.register_buffer("c", torch.empty(6, 1, 1))
        self.formula = formula

    def forward(self, x: Tensor) -> Tensor:
        return self.formula(x, self.c)


MAPS = {
    "product": lambda x, c: x * c,
    "product, constant first": lambda x, c: c * x,
    "quotient": lambda x, c: x / c,
    "sum": lambda x, c: torch.add(c, x, alpha=3),
    "difference": lambda x, c: torch.sub(x, c, alpha=2),
    "difference, constant first": lambda x, c: torch.sub(c, x, alpha=2),
    "number": lambda x, c: x / 3,
    "negative": lambda x, c: -x,
}


@pytest.mark.parametrize("kind", MAPS)
def test_the_map_is_what_the_operator_computes(kind: str) -> None:
    module, x = ready(Formula(MAPS[kind])).double(), torch.randn(2, 6, 4, 4, dtype=torch.float64)
    captured = capture(module, (x,))
    found = affine_of(captured, captured.graph.output_node().all_input_nodes[0])
    assert found is not None
    map_, read = found
    assert read.op == "placeholder"
    torch.testing.assert_close(x * map_.scale + map_.shift, module(x), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    "formula",
    [
        lambda x, c: c / x,
        lambda x, c: x / 0,
        lambda x, c: x * x,
        lambda x, c: x[:, :1] * c,
        lambda x, c: x * c.relu(),
        lambda x, c: torch.div(x, c, rounding_mode="trunc"),
        lambda x, c: x.bool() * c,
        lambda x, c: x**2,
    ],
)
def test_anything_else_is_none(formula: Callable[[Tensor, Tensor], Tensor]) -> None:
    captured = capture(ready(Formula(formula)), (torch.randn(2, 6, 4, 4),))
    assert affine_of(captured, captured.graph.output_node().all_input_nodes[0]) is None


def test_axes_along_which_nothing_varies_have_length_one() -> None:
    scale = torch.arange(3.0).view(1, 3, 1).expand(2, 3, 4)
    assert affine(scale, torch.ones(1, 1, 1)).varies_along() == (1,)
    assert affine(torch.ones(2, 3, 4), torch.zeros(2, 3, 4)).varies_along() == ()
