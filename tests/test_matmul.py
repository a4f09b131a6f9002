"""Matrix products with a stored matrix."""

from __future__ import annotations

import pytest
import torch
from fuseport.reparam import affine_previous, capture, fold, matmul
from graphs import Formula, folded, ready
from torch import nn

PICTURE = (2, 6, 4, 4)


def test_it_becomes_a_linear_layer() -> None:
    result = folded(Formula(lambda x, c: x @ c, 4, 5), torch.randn(PICTURE), rules=(matmul,))
    assert result.after.operators == {"linear": 1, "relu": 1}
    assert set(result.module.state_dict()) == {"c"}


def test_a_matrix_of_two_axes() -> None:
    result = folded(Formula(lambda x, c: torch.mm(x, c), 6, 5), torch.randn(3, 6), rules=(matmul,))
    assert result.after.operators == {"linear": 1, "relu": 1}


def test_constants_behind_it_go_into_its_weight() -> None:
    module = Formula(lambda x, c: (x @ c) * 0.25 + 1, 4, 5)
    result = folded(module, torch.randn(PICTURE), rules=(matmul, affine_previous))
    assert result.after.operators == {"linear": 1, "relu": 1}


REFUSED = {
    "a matrix for each channel": Formula(lambda x, c: x @ c, 6, 4, 5),
    "a vector": Formula(lambda x, c: x @ c, 4),
    "stored on the left": Formula(lambda x, c: c @ x, 5, 4),
    "read twice": Formula(lambda x, c: (x @ c) @ c, 4, 4),
}


@pytest.mark.parametrize("formula", REFUSED.values(), ids=REFUSED)
def test_what_is_not_exact_stays(formula: nn.Module) -> None:
    result = fold(capture(ready(formula), (torch.randn(PICTURE),)), (matmul,))
    assert not result.rewrites
    assert result.after == result.before
