"""Labels that flip for a reason pass, and labels that flip for none do not."""

from __future__ import annotations

import numpy as np
import pytest
from fuseport.validate.choices import judge_choices, measured, overlap, settled, unexplained
from numpy.typing import NDArray

TOKENS, KEPT = 400, 200


def chosen(scores: NDArray[np.float64], noise: float, seed: int) -> NDArray[np.int32]:
    """1 for the better half of each row under noise of that size, 0 for the others."""
    moved = scores + noise * np.random.default_rng(seed).normal(size=scores.shape)
    return (moved >= np.sort(moved, axis=1)[:, -KEPT, None]).astype(np.int32)


SCORES = np.random.default_rng(0).normal(size=(4, TOKENS))


def verdict(artifact: NDArray, noise: float = 0.01, neighbours: int = 3) -> tuple[str, str, float]:
    near = [chosen(SCORES, noise, seed) for seed in range(1, neighbours + 1)]
    return judge_choices(chosen(SCORES, 0, 0), chosen(SCORES, 1e-7, 9), artifact, near)


@pytest.mark.parametrize("seed", range(20, 40))
def test_flips_of_small_margins_pass(seed: int) -> None:
    artifact = chosen(SCORES, 0.01, seed)
    found, reason, share = verdict(artifact)
    assert found == "passed", reason
    assert share == overlap(artifact, chosen(SCORES, 0, 0))


def test_the_same_flips_fail_a_precision_that_does_not_explain_them() -> None:
    found, reason, _ = verdict(chosen(SCORES, 0.01, 20), noise=1e-7)
    assert found == "failed"
    assert "rounding explains 0" in reason


def test_a_single_token_of_a_large_margin_fails() -> None:
    artifact = chosen(SCORES, 0, 0)
    best = np.argmax(SCORES[2])
    artifact[2, best] = 0
    assert verdict(artifact, noise=1e-6)[0] == "failed"


@pytest.mark.parametrize("wrong", ["inverted", "other sample", "one more", "all", "none"])
def test_another_rule_of_choice_fails(wrong: str) -> None:
    truth = chosen(SCORES, 0, 0)
    scores = np.sort(SCORES, axis=1)
    artifact = {
        "inverted": 1 - truth,
        "other sample": np.roll(truth, 1, axis=0),
        "one more": (scores[:, -KEPT - 8, None] <= SCORES).astype(np.int32),
        "all": np.ones_like(truth),
        "none": np.zeros_like(truth),
    }[wrong]
    assert verdict(artifact, noise=0.001)[0] == "failed"


def test_many_flips_fail_even_where_each_could_be_explained() -> None:
    """Every label that some neighbour changes is turned over: no settled one is wrong, but the overlap is."""
    near = [chosen(SCORES, 0.05, seed) for seed in range(1, 40)]
    truth = chosen(SCORES, 0, 0)
    artifact = np.where(settled([truth, *near]), truth, 1 - truth)
    found, reason, _ = judge_choices(truth, truth, artifact, near)
    assert found == "failed"
    assert "overlap should be at least" in reason


def test_labels_that_mostly_hang_on_rounding_are_not_judged() -> None:
    assert verdict(chosen(SCORES, 5.0, 30), noise=5.0)[0] == "not judged"


RANKED = np.random.default_rng(99).normal(size=(300, 200))
ROUNDING = 1e-3


def chunked(noise: float, seed: int, *, later: int = 0) -> NDArray[np.int32]:
    """The chunk of ten in which each token of a row stands when they are sorted under noise, cut `later`."""
    moved = RANKED + noise * np.random.default_rng(seed).normal(size=RANKED.shape)
    place = moved.argsort(axis=1).argsort(axis=1)
    return ((place + later) % 200 // 10 + 1).astype(np.int32)


def of_ranks(artifact: NDArray, *, cost: NDArray | None) -> tuple[str, str, float]:
    near = [chunked(3 * ROUNDING, seed) for seed in range(1, 5)]
    return judge_choices(chunked(0, 0), chunked(1e-7, 9), artifact, near, cost)


@pytest.mark.parametrize("seed", range(20, 30))
def test_as_many_moves_across_ranks_pass_as_rounding_makes(seed: int) -> None:
    found, reason, _ = of_ranks(chunked(ROUNDING, seed), cost=chunked(ROUNDING, 5))
    assert found == "passed", reason
    assert "hang on rounding, which alone changes" in reason


def test_a_cut_that_no_single_label_gives_away_does_so_by_its_number() -> None:
    """All who change their chunk stand at its end, where rounding could have moved each of them."""
    later = np.where(chunked(0, 0) == chunked(0.02, 8), chunked(0, 0), chunked(0, 0, later=1))
    assert of_ranks(later, cost=None)[0] == "passed"
    found, reason, _ = of_ranks(later, cost=chunked(ROUNDING, 5))
    assert found == "failed"
    assert "labels, and rounding alone" in reason


def test_few_or_uneven_changes_are_no_measurement() -> None:
    truth, near = chunked(0, 0), [chunked(3 * ROUNDING, seed) for seed in range(1, 5)]
    cost = chunked(ROUNDING, 5)
    assert measured(truth, near, cost) == np.sum(cost != truth)
    assert measured(truth, near, truth) is None
    assert measured(truth, [*near[1:], chunked(6 * ROUNDING, 1)], cost) is None


def test_a_verdict_needs_neighbours() -> None:
    with pytest.raises(ValueError, match="expected runs of the model with noise"):
        verdict(chosen(SCORES, 0, 0), neighbours=0)


@pytest.mark.parametrize(
    ("ours", "theirs", "share"),
    [
        ([1, 1, 0, 0], [1, 1, 0, 0], 1.0),
        ([1, 1, 0, 0], [1, 0, 1, 0], 1 / 3),
        ([1, 1, 0, 0], [0, 0, 1, 1], 0.0),
        ([1, 2, 2, 1], [1, 2, 2, 2], 3 / 4),
        ([0, 0], [0, 0], 0.0),
    ],
)
def test_overlap_is_the_share_of_equal_labels_among_the_kept(ours: list[int], theirs: list[int], share: float) -> None:
    assert overlap(np.array(ours), np.array(theirs)) == pytest.approx(share)


def test_unexplained_counts_what_one_run_says_alone() -> None:
    runs = [np.array(run) for run in ([1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0])]
    assert list(settled(runs)) == [True, False, False, False]
    assert unexplained(runs) == 2
