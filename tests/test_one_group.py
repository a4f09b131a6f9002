"""Group norm of one group as layer norm."""

from __future__ import annotations

import pytest
import torch
from fuseport.reparam import RULES, capture, fold, one_group
from graphs import folded, ready
from torch import nn


@pytest.mark.parametrize(
    ("affine", "left"), [(True, {"layer_norm": 1, "mul": 1, "add": 1}), (False, {"layer_norm": 1})]
)
@pytest.mark.parametrize("shape", [(2, 6, 4, 5), (2, 6, 7), (1, 6, 3, 4, 5)])
def test_it_becomes_a_layer_norm(affine: bool, left: dict[str, int], shape: tuple[int, ...]) -> None:
    result = folded(nn.GroupNorm(1, 6, affine=affine, eps=0.1), torch.randn(shape), rules=(one_group,))
    assert result.after.operators == left
    assert set(result.module.state_dict()) == ({"weight", "bias"} if affine else set())


def test_its_scale_and_shift_go_on_into_the_next_layer() -> None:
    result = folded(nn.Sequential(nn.GroupNorm(1, 6), nn.Conv2d(6, 4, 1)), torch.randn(2, 6, 4, 5))
    assert result.after.operators == {"layer_norm": 1, "conv2d": 1}


def test_more_groups_stay() -> None:
    result = fold(capture(ready(nn.GroupNorm(2, 6)), (torch.randn(2, 6, 4, 5),)), (one_group,))
    assert not result.rewrites


def test_an_open_size_stays() -> None:
    sizes = ({2: torch.export.Dim("height", min=2, max=64)},)
    captured = capture(ready(nn.GroupNorm(1, 6)), (torch.randn(2, 6, 4, 5),), dynamic_shapes=sizes)
    assert fold(captured, RULES).after.operators == {"group_norm": 1}
