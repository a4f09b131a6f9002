"""The numbers of a map through a reshape, held against the reshape of the map written out in full."""

from __future__ import annotations

import math

import pytest
import torch
from fuseport.reparam.reshaping import BlockedError, regrouped
from torch.fx.experimental.symbolic_shapes import ShapeEnv


@pytest.mark.parametrize(
    ("varies", "old", "new", "layout"),
    [
        ((1, 6, 1, 1), (2, 6, 4, 5), (2, 6, 20), (1, 6, 1)),
        ((1, 6, 1), (2, 6, 20), (2, 6, 4, 5), (1, 6, 1, 1)),
        ((1, 6, 1, 1), (2, 6, 4, 5), (2, 120), (1, 120)),
        ((1, 1, 24), (2, 5, 24), (2, 5, 3, 2, 4), (1, 1, 3, 2, 4)),
        ((1, 1, 3, 1, 1), (2, 5, 3, 2, 4), (2, 5, 24), (1, 1, 24)),
        ((1, 6), (2, 6), (2, 6, 1, 1), (1, 6, 1, 1)),
        ((1, 6, 1, 1), (2, 6, 1, 1), (2, 6), (1, 6)),
        ((1, 1), (2, 6), (1, 12), (1, 1)),
        ((6,), (6,), (1, 6), (1, 6)),
        ((2, 1, 1), (2, 3, 4), (6, 4), (6, 1)),
    ],
)
def test_the_numbers_go_with_the_elements(
    varies: tuple[int, ...], old: tuple[int, ...], new: tuple[int, ...], layout: tuple[int, ...]
) -> None:
    part = torch.arange(1.0, math.prod(varies) + 1).view(varies)
    moved = regrouped(part, old, new, "reshape")
    assert moved.shape == layout
    assert torch.equal(moved.expand(new), part.expand(old).reshape(new))


def test_an_open_axis_may_stay_apart_but_not_mix() -> None:
    environment = ShapeEnv()
    batch = environment.create_unbacked_symint()
    part = torch.randn(1, 6, 1)
    assert regrouped(part, (batch, 6, 4), (batch, 24), "view").shape == (1, 24)
    assert regrouped(torch.randn(1, 1, 6), (batch, 4, 6), (batch * 4, 6), "view").shape == (1, 6)
    with pytest.raises(BlockedError, match="view mixes the channels with an open axis"):
        regrouped(part, (batch, 6, 4), (batch * 6, 4), "view")
