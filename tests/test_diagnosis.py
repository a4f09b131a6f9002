import numpy as np
import pytest
from fuseport.validate.diagnosis import diagnose

LOGITS = np.random.default_rng(0).normal(size=(6, 40)) + np.random.default_rng(1).normal(size=40)
MAP = np.random.default_rng(2).normal(size=(6, 4, 5, 5))
OTHER = np.random.default_rng(3).normal(size=(6, 40))
TRUTHS = {"logits": LOGITS, "map": MAP, "other": OTHER}


def softmax(values: np.ndarray) -> np.ndarray:
    raised = np.exp(values)
    return raised / raised.sum(axis=1, keepdims=True)


def swapped(values: np.ndarray, axis: int, i: int, j: int) -> np.ndarray:
    order = np.arange(values.shape[axis])
    order[[i, j]] = j, i
    return np.take(values, order, axis)


def with_value(values: np.ndarray, place: tuple, value: float) -> np.ndarray:
    changed = values.copy()
    changed[place] = value
    return changed


@pytest.mark.parametrize(
    ("name", "artifact", "clause"),
    [
        ("logits", 2 * LOGITS, "it is the model's times 2"),
        ("map", -MAP, "it is the model's times -1"),
        ("logits", LOGITS + 1, "it is the model's plus 1"),
        ("logits", softmax(LOGITS), "it is the softmax of the model's"),
        ("logits", 0 * LOGITS, "it is zero everywhere"),
        ("map", np.repeat(MAP.mean(axis=0, keepdims=True), 6, axis=0), "it is the same for every sample"),
        ("logits", OTHER, "it is the model's output 'other'"),
        ("logits", swapped(LOGITS, 1, 3, 8), "classes 3 and 8 are in another order"),
        ("logits", np.roll(LOGITS, 1, axis=1), "classes 0, 1, 2, 3 and 36 more are in another order"),
        ("logits", with_value(LOGITS, np.s_[:, 5], 9.0), "the error is in class 5 alone"),
        ("map", swapped(MAP, 0, 1, 4), "for samples 1 and 4 it is the model's output for samples 4 and 1"),
        ("map", with_value(MAP, np.s_[2], MAP[1]), "for sample 2 it is the model's output for sample 1"),
        ("map", with_value(MAP, np.s_[3], 7.0), "the error is in sample 3 alone"),
        ("logits", with_value(LOGITS, np.s_[2, 3], np.nan), "they are in sample 2"),
        ("map", with_value(MAP, np.s_[2:4], np.inf), "they are in samples 2 and 3"),
    ],
)
def test_a_simple_fault_is_named_even_under_rounding(name, artifact, clause):
    noise = 1e-4 * np.random.default_rng(4).normal(size=artifact.shape)
    found = diagnose(name, TRUTHS, artifact + noise if artifact.any() else artifact)
    assert found == clause


def test_an_error_of_no_simple_kind_gets_no_name():
    noise = np.random.default_rng(5).normal(size=LOGITS.shape)
    assert diagnose("logits", TRUTHS, LOGITS + noise) is None
    assert diagnose("logits", TRUTHS, np.full_like(LOGITS, np.nan)) is None
    assert diagnose("a", {"a": np.array(1.0)}, np.array(2.0)) is None
    assert diagnose("a", {"a": np.full((2, 3), np.inf)}, np.ones((2, 3))) is None


@pytest.mark.parametrize("varies", [1.0, 0.01])
def test_a_thousand_classes_that_hardly_differ(varies):
    draw = np.random.default_rng(6)
    truth = draw.normal(size=1000) + varies * draw.normal(size=(4, 1000))
    noise = 1 + 5e-4 * draw.normal(size=(4, 1000))
    for moved in (np.roll(truth, 1, axis=1), np.roll(truth, -300, axis=1), truth[:, ::-1]):
        clause = diagnose("logits", {"logits": truth}, moved * noise)
        assert clause is not None
        assert clause.endswith("are in another order")


def test_random_classes_are_no_other_order():
    for samples in (1, 2, 4):
        truth, other = np.random.default_rng(7).normal(size=(2, samples, 1000))
        assert diagnose("logits", {"logits": truth}, other) is None
