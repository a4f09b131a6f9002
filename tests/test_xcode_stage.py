"""Statistics of a stage against numpy's, and what is not said where a file does not say it."""

from __future__ import annotations

import numpy as np
import pytest
from fuseport.validate.xcode.stage import STATISTICS, Stage, iteration_medians, spread, statistic, statistics

SAMPLES = tuple(np.random.default_rng(0).gamma(3.0, 1e-3, 120).tolist())


def test_statistics_are_numpys() -> None:
    array, found = np.array(SAMPLES), statistics(Stage(SAMPLES))
    expected = {
        "median": np.median(array),
        "mean": array.mean(),
        "min": array.min(),
        "max": array.max(),
        "stdev": array.std(),
        "p5": np.percentile(array, 5),
        "p90": np.percentile(array, 90),
        "p95": np.percentile(array, 95),
        "p99": np.percentile(array, 99),
        "p999": np.percentile(array, 99.9),
        "first": array[0],
    }
    assert found == pytest.approx({name: float(value) for name, value in expected.items()})
    assert set(found) == set(STATISTICS)
    assert statistic(Stage(SAMPLES), "p95") == found["p95"]


def test_stated_statistics_are_passed_on_and_no_others() -> None:
    stage = Stage(stated={"mean": 0.5, "p95": 0.7}, count=50)
    assert statistics(stage) == {"mean": 0.5, "p95": 0.7}
    assert statistic(stage, "median") is None
    assert stage.n == 50


def test_an_empty_stage_has_nothing() -> None:
    assert statistics(Stage()) == {}
    assert statistic(Stage(), "median") is None
    assert (iteration_medians(Stage()), spread(Stage()), Stage().n) == ((), None, 0)


def test_iterations() -> None:
    stage = Stage((0.196, 0.196, 0.241, 0.241, 0.229, 0.229), per_iteration=2)
    assert iteration_medians(stage) == (0.196, 0.241, 0.229)
    assert spread(stage) == pytest.approx(0.2296, abs=1e-4)  # "23 % apart"


def test_no_iterations_no_spread() -> None:
    assert spread(Stage(SAMPLES)) is None
    assert spread(Stage((0.1, 0.2), per_iteration=2)) is None
    assert spread(Stage((0.0, 0.2), per_iteration=1)) is None
