"""Hourglass: golden cases, the constant matrices, and invariances of the clustering."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from fuseport.models.tokens.hourglass import Cluster
from golden_weights import assert_close
from swag_golden import assert_golden, cases, tiny


@pytest.mark.parametrize("name", cases("hourglass"))
def test_golden(name: str) -> None:
    assert_golden(name)


@pytest.mark.parametrize(("grid", "side"), [((8, 8), 4), ((7, 7), 3), ((12, 12), 5), ((6, 9), 5), ((4, 4), 4)])
def test_pooling_is_adaptive_average_pooling(grid: tuple[int, int], side: int) -> None:
    tokens = torch.randn(2, grid[0] * grid[1], 3)
    map = tokens.transpose(1, 2).reshape(2, 3, *grid)
    expected = F.adaptive_avg_pool2d(map, side).flatten(2).transpose(1, 2)
    assert_close(Cluster(grid, side, 1, 1.0, 5).pool @ tokens, expected, 1e-6)


def test_a_centre_claims_only_tokens_of_its_neighbourhood() -> None:
    cluster = Cluster((8, 8), 4, 1, 1.0, 3)
    allowed = (cluster.forbidden == 0).reshape(8, 8, 4, 4)
    for row, column in [(0, 0), (3, 4), (7, 7)]:
        home = torch.tensor([row // 2, column // 2])
        cells = allowed[row, column].nonzero()
        assert ((cells - home).abs() <= 1).all()
        assert len(cells) == sum(1 for a in range(4) for b in range(4) if max(abs(a - home[0]), abs(b - home[1])) <= 1)


def test_it_equals_the_textbook_rounds_in_float64() -> None:
    cluster = Cluster((6, 6), 3, 4, 0.3, 3)
    f = torch.randn(1, 36, 5, dtype=torch.float64)
    centres = cluster.pool.double() @ f[0]
    for _ in range(4):
        distance = torch.cdist(f[0], centres).square() + 1e16 * (cluster.forbidden != 0)
        claims = (-0.3 * distance).softmax(-1)
        centres = claims.T @ f[0] / claims.sum(0)[:, None]
    assert_close(cluster(f)[0], centres, 1e-12)


def test_a_common_offset_of_all_tokens_costs_no_digits() -> None:
    cluster, moved = Cluster((8, 8), 4, 5, 1.0, 5), 1000 + torch.randn(1, 64, 16)
    assert_close(cluster(moved) - 1000, cluster(moved - 1000), 1e-3)


def test_equal_tokens_give_equal_centres() -> None:
    assert_close(Cluster((8, 8), 4, 5, 1.0, 5)(torch.full((1, 64, 16), 3.0)), torch.full((1, 16, 16), 3.0), 1e-6)


def test_token_counts() -> None:
    model = tiny("hourglass", location=2, clusters=25)
    assert model.reduction.tokens() == (65, 65, 26, 26, 26)
