"""Labels that flip for a reason pass, and labels that flip for none do not."""

from __future__ import annotations

import numpy as np
import pytest
from fuseport.validate.choices import judge_choices, overlap, settled, unexplained
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
