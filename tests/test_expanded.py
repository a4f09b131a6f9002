"""Values that were written out in front of operators that broadcast."""

from __future__ import annotations

import pytest
import torch
from fuseport.reparam import capture, expanded, fold
from graphs import Formula, folded, ready
from torch import nn

PICTURE = (2, 6, 4, 4)


GONE = {
    "expand_as": Formula(lambda x, c: x / (x.mean(1, keepdim=True) + 1).expand_as(x), 1),
    "expand": Formula(lambda x, c: x.mean(1, keepdim=True).expand(2, 6, 4, 4) - x, 1),
    "fewer axes": Formula(lambda x, c: x * x.mean((0, 1)).expand(6, 4, 4), 1),
    "two readers": Formula(lambda x, c: (e := x.mean(1, keepdim=True).expand_as(x)) * x + torch.maximum(e, x), 1),
    "what two sides make together": Formula(lambda x, c: x.mean(1, True).expand_as(x) + x.mean((0, 2, 3), True), 1),
}


@pytest.mark.parametrize("kind", GONE)
def test_nothing_is_written_out(kind: str) -> None:
    result = folded(GONE[kind], torch.randn(PICTURE), rules=(expanded,))
    assert not {"expand", "expand_as"} & result.after.operators.keys()


REFUSED = {
    "nobody else is as large": Formula(lambda x, c: x.mean(1, keepdim=True).expand_as(x) + x.mean(1, keepdim=True), 1),
    "another reader needs it": Formula(
        lambda x, c: (e := x.mean(1, keepdim=True).expand_as(x)) + x + torch.cat((e, e), 1)[:, 3:9], 1
    ),
    "read as an operand of a matrix product": Formula(lambda x, c: x.mean(1, keepdim=True).expand_as(x) @ x, 1),
}


@pytest.mark.parametrize("formula", REFUSED.values(), ids=REFUSED)
def test_what_is_not_exact_stays(formula: nn.Module) -> None:
    result = fold(capture(ready(formula), (torch.randn(PICTURE),)), (expanded,))
    assert not result.rewrites
    assert result.after == result.before
