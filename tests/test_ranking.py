import numpy as np
import pytest
from fuseport.validate.ranking import indistinct_pairs, ranking


def scores(n: int = 6, classes: int = 50, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, classes))


def test_equal_scores_agree_everywhere():
    truth = scores()
    found = ranking(truth, truth, np.full((6, 1), 1e-3))
    assert (found.top1, found.top5, found.flips, found.unexplained_flips) == (1.0, 1.0, 0, 0)


def test_a_flip_against_a_clear_margin_is_unexplained():
    truth = scores()
    artifact = truth.copy()
    best, second = np.argsort(truth[2])[::-1][:2]
    artifact[2, [best, second]] = truth[2, [second, best]]
    margin = truth[2, best] - truth[2, second]
    clear = ranking(truth, artifact, np.full((6, 1), margin / 3))
    assert (clear.flips, clear.unexplained_flips) == (1, 1)
    assert clear.top1 == 5 / 6
    close = ranking(truth, artifact, np.full((6, 1), margin))
    assert (close.flips, close.unexplained_flips) == (1, 0)


def test_top5_counts_shared_classes_and_needs_more_than_five():
    truth = np.arange(20.0).reshape(2, 10)
    artifact = truth.copy()
    artifact[0, 5] = -1  # one of the five best falls out
    assert ranking(truth, artifact).top5 == pytest.approx(0.9)
    assert ranking(truth[:, :5], artifact[:, :5]).top5 is None


def test_without_a_bound_flips_cannot_be_explained():
    truth = scores()
    found = ranking(truth, -truth)
    assert found.flips == 6
    assert found.unexplained_flips is None
    assert found.indistinct_pairs is None


@pytest.mark.parametrize("allowed", [1e-6, 0.3, 1.0, 3.0])
def test_indistinct_pairs_are_those_of_the_slow_count(allowed):
    truth = scores(n=3, classes=40)
    truth[:, 7] = truth[:, 9]
    slow = sum(bool(np.all(np.abs(truth[:, j] - truth[:, k]) <= allowed)) for j in range(40) for k in range(j))
    assert indistinct_pairs(truth, np.full_like(truth, allowed)) == slow
    assert slow >= 1


def test_indistinct_pairs_become_a_caveat():
    truth = scores()
    truth[:, 7] = truth[:, 9]
    assert ranking(truth, truth, np.full((6, 1), 1e-6)).caveat(50) == (
        "1 of 1225 pairs of classes lie too close together to tell apart"
    )
    assert ranking(scores(), scores(), np.full((6, 1), 1e-6)).caveat(50) is None


def test_flips_are_told_with_how_many_the_bound_cannot_explain() -> None:
    truth = np.array([[1.0, 0.999, 0.0], [1.0, 0.2, 0.0], [0.0, 0.5, 1.0]])
    flipped = np.array([[0.998, 1.0, 0.0], [0.1, 1.0, 0.0], [0.0, 0.5, 1.0]])
    assert ranking(truth, flipped, np.full((3, 1), 0.01)).told() == (
        "the best class changes in 2 of 3 samples, 1 of these unexplained by the bound"
    )
    assert ranking(truth, flipped).told() == "the best class changes in 2 of 3 samples"
    assert ranking(truth, truth, np.full((3, 1), 0.01)).told() == "0 unexplained flips of 3"
    assert ranking(truth, truth).told() is None
