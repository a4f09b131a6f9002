"""One number for how far a run is over its bound."""

from __future__ import annotations

import numpy as np
import pytest
from fuseport.validate.excess import excess_of
from fuseport.validate.verdict import Tolerance

TRUTH = {"y": np.random.default_rng(0).normal(size=(2, 100)), "label": np.arange(2)}


def excess(change: np.ndarray | float, **options: object) -> float:
    given = {"y": TRUTH["y"] + change, "label": TRUTH["label"] + 1}
    return excess_of(TRUTH, TRUTH, given, "float16", **options)  # pyright: ignore


def test_the_bound_is_one() -> None:
    assert excess(0.03 * TRUTH["y"]) == pytest.approx(1, rel=0.05)
    assert excess(0.0) == 0
    one = np.zeros_like(TRUTH["y"])
    one[1, 7] = 0.24
    assert excess(one) == pytest.approx(2, rel=0.15)  # twice the bound of a single value


def test_a_tolerance_takes_its_place() -> None:
    assert excess(0.5, tolerance=Tolerance(atol=0.25)) == pytest.approx(2)
    assert excess(0.5, tolerance=Tolerance(rtol=1e-12, atol=1e300)) < 1e-200


def test_values_that_are_not_finite() -> None:
    assert excess(np.inf) == np.inf
    assert excess(np.nan, tolerance=Tolerance(atol=9)) == np.inf


def test_samples_that_float32_cannot_compute_do_not_count() -> None:
    reference = {"y": TRUTH["y"].copy()}
    reference["y"][0] *= 1.1
    given = {"y": TRUTH["y"].copy()}
    given["y"][0] *= 1.5
    assert excess_of({"y": TRUTH["y"]}, reference, given, "float16") == 0
