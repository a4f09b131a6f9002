"""Choices among tokens: the rule for ties, and what happens when there is nothing to choose from."""

from __future__ import annotations

import math

import pytest
import torch
from fuseport.models.tokens.choose import (
    Decision,
    ascending,
    back,
    first_of_greatest,
    full,
    in_decision,
    places,
    survivors,
    take,
    top_mask,
)
from torch import Tensor, nn


def by_stable_sort(scores: Tensor, k: int) -> Tensor:
    return scores.sort(dim=-1, descending=True, stable=True).indices[:, :k].sort(-1).values


@pytest.mark.parametrize("levels", [1, 2, 5, 10_000], ids="{} levels".format)
@pytest.mark.parametrize("k", [1, 13, 39, 40])
def test_of_equal_scores_the_earlier_token_wins_and_the_order_stays(levels: int, k: int) -> None:
    scores = torch.randint(levels, (8, 40), generator=torch.Generator().manual_seed(k)).float() / 7
    mask = top_mask(scores, k)
    assert (mask.sum(-1) == k).all()
    assert torch.equal(places(mask, k), by_stable_sort(scores, k))


def test_infinite_scores_are_scores() -> None:
    scores = torch.tensor([[-math.inf, 1.0, math.inf, math.inf, -math.inf]])
    assert places(top_mask(scores, 4), 4).tolist() == [[0, 1, 2, 3]]


def test_scores_that_are_no_numbers_still_give_positions() -> None:
    found = places(top_mask(torch.full((2, 6), math.nan), 3), 3)
    assert found.shape == (2, 3)
    assert ((found >= 0) & (found < 6)).all()


@pytest.mark.parametrize("levels", [1, 3, 10_000])
def test_ascending_is_a_stable_sort(levels: int) -> None:
    x = torch.randint(-levels, levels, (2, 3, 1370), generator=torch.Generator().manual_seed(levels)).float()
    assert torch.equal(ascending(x), x.argsort(dim=-1, stable=True))


def test_the_first_of_equal_maxima_is_found() -> None:
    greatest, where = first_of_greatest(torch.tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [0.0, 1.0, 5.0]]))
    assert greatest.tolist() == [3.0, 2.0, 5.0]
    assert where.tolist() == [1, 0, 2]


def test_take_keeps_each_pictures_own_tokens() -> None:
    x = torch.arange(24.0).reshape(2, 4, 3)
    index = torch.tensor([[0, 3], [2, 2]])
    assert torch.equal(take(x, index), torch.stack((x[0][[0, 3]], x[1][[2, 2]])))
    assert torch.equal(take(x[:, :, 0], index), torch.tensor([[0.0, 9.0], [18.0, 18.0]]))


def test_survivors_are_the_class_token_and_the_numbers_in_range() -> None:
    assert survivors(torch.tensor([[0, 2, 9], [1, 1, -1]]), 4).tolist() == [[1, 0, 1, 0], [1, 1, 0, 0]]


def test_full_and_back_leave_no_trace_where_nothing_changes() -> None:
    x, half = torch.ones(3), torch.ones(3, dtype=torch.float16)
    assert full(x) is x
    assert full(x.double()).dtype == torch.float64
    assert full(half).dtype == full(half.bfloat16()).dtype == torch.float32
    assert back(x, x) is x
    assert back(full(half), half).dtype == torch.float16
    assert back(x, torch.ones(1, device="meta")).device.type == "meta"


class Marked(Decision):
    def forward(self, x: Tensor) -> Tensor:
        return x.exp() + 1


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.marked = Marked()

    def forward(self, x: Tensor) -> Tensor:
        return self.marked(x.sin()).cos()


def test_the_nodes_of_a_decision_are_known_also_behind_a_second_capture() -> None:
    x = (torch.ones(2),)
    first = torch.export.export(Network(), x)
    again = torch.export.export(first.module(), x)
    for program in (first, again, again.run_decompositions({})):
        marked = {str(node.target) for node in program.graph.nodes if in_decision(node)}
        assert marked == {"aten.exp.default", "aten.add.Tensor"}
