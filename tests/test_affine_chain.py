"""Affine maps in a row that no layer takes in."""

from __future__ import annotations

import pytest
import torch
from fuseport.reparam import affine_chain, capture, fold
from graphs import Formula, folded, ready
from torch import nn

PICTURE = (2, 6, 4, 4)


ONE = {
    "number by number": (Formula(lambda x, c: x * 2 * 3, 1), {"mul": 1}),
    "sums": (Formula(lambda x, c: (2 - (x + 3)) + 5, 1), {"mul": 1, "add": 1}),
    "per channel": (Formula(lambda x, c: ((x * c + 3) * 2 - c) / 3, 6, 1, 1), {"mul": 1, "add": 1}),
    "nothing left": (Formula(lambda x, c: x.neg().neg() * 2 * 0.5, 1), {}),
}


@pytest.mark.parametrize("kind", ONE)
def test_they_become_one(kind: str) -> None:
    module, left = ONE[kind]
    result = folded(module, torch.randn(PICTURE), rules=(affine_chain,))
    assert result.after.operators == {"relu": 1, **left}
    assert len(result.rewrites) == 1


REFUSED = {
    "already two": Formula(lambda x, c: x * c + 3, 6, 1, 1),
    "another reader between": Formula(lambda x, c: (y := x * 2) * 3 + y, 1),
    "a norm, which is both": nn.Sequential(nn.BatchNorm2d(6), nn.ReLU()),
}


@pytest.mark.parametrize("formula", REFUSED.values(), ids=REFUSED)
def test_what_is_not_exact_stays(formula: nn.Module) -> None:
    result = fold(capture(ready(formula), (torch.randn(PICTURE),)), (affine_chain,))
    assert not result.rewrites
    assert result.after == result.before
