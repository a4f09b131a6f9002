"""Parts of a split value that are all moved alike."""

from __future__ import annotations

import pytest
import torch
from fuseport.reparam import capture, fold, late_split
from graphs import Formula, folded, ready
from torch import Tensor, nn

PICTURE = (2, 6, 4, 4)


MOVED = {
    "flattened": (Formula(lambda x, c: torch.cat([part.flatten(2) for part in x.split((1, 2, 3), 1)], 1), 1), 2),
    "permuted": (Formula(lambda x, c: sum(part.permute(0, 2, 3, 1) for part in x.chunk(3, 1)), 1), 2),
    "transposed": (Formula(lambda x, c: sum(part.transpose(-1, 1) for part in x.split(2, 1)), 1), 2),
    "in front": (Formula(lambda x, c: sum(part.reshape(12, 4, 2) for part in x.chunk(2, 3)), 1), 1),
}


@pytest.mark.parametrize("kind", MOVED)
def test_the_whole_is_moved_once(kind: str) -> None:
    module, fewer = MOVED[kind]
    result = folded(module, torch.randn(PICTURE), rules=(late_split,))
    assert [step.rule for step in result.rewrites] == ["late-split"]
    assert result.after.nodes == result.before.nodes - fewer


def _first_alone(x: Tensor, c: Tensor) -> Tensor:
    first, second = x.chunk(2, 1)
    return first.flatten(2) + second.reshape(2, 3, 16).sigmoid() * second.mean((2, 3))[..., None]


REFUSED = {
    "not all alike": Formula(lambda x, c: (p := x.chunk(2, 1))[0].permute(0, 2, 3, 1) + p[1].mean(), 1),
    "other orders": Formula(lambda x, c: (p := x.chunk(2, 1))[0].transpose(2, 3) @ p[1].permute(0, 1, 2, 3), 1),
    "a part has two readers": Formula(_first_alone, 1),
    "across the parts": Formula(lambda x, c: sum(part.reshape(2, 48) for part in x.chunk(2, 1)), 1),
}


@pytest.mark.parametrize("formula", REFUSED.values(), ids=REFUSED)
def test_what_is_not_exact_stays(formula: nn.Module) -> None:
    result = fold(capture(ready(formula), (torch.randn(PICTURE),)), (late_split,))
    assert not result.rewrites
    assert result.after == result.before
