"""The noise interval: it holds what it should, grows with the scatter, and is absent where nothing is known."""

from __future__ import annotations

import numpy as np
import pytest
from fuseport.validate.xcode.noise import interval
from fuseport.validate.xcode.stage import Stage, statistic


def samples(scale: float, seed: int = 0, n: int = 120) -> tuple[float, ...]:
    return tuple((1e-3 * (1 + scale * np.random.default_rng(seed).standard_normal(n))).tolist())


@pytest.mark.parametrize("name", ["median", "mean", "p90", "p95", "p99"])
def test_it_holds_the_statistic_and_grows_with_the_scatter(name: str) -> None:
    widths = []
    for scale in (0.01, 0.1):
        stage = Stage(samples(scale), per_iteration=40)
        span, value = interval(stage, name), statistic(stage, name)
        assert span is not None
        assert value is not None
        assert span.low <= value <= span.high
        widths.append(span.high - span.low)
    assert widths[1] > 5 * widths[0]


def test_it_spans_the_iterations() -> None:
    """R2's medians of the format notes: 0.196, 0.241 and 0.229 ms."""
    series = (0.196e-3,) * 40 + (0.241e-3,) * 40 + (0.229e-3,) * 40
    span = interval(Stage(series, per_iteration=40), "median")
    assert span == pytest.approx((0.196e-3, 0.241e-3))


def test_the_bootstrap_covers_the_true_median() -> None:
    """Of 200 series around a median of 1 ms, 95 % of the intervals hold it; 88 % would be a broken bootstrap."""
    spans = [interval(Stage(samples(0.1, seed)), "median") for seed in range(200)]
    held = sum(span is not None and span.low <= 1e-3 <= span.high for span in spans)
    assert 176 <= held < 200


def test_it_is_the_same_twice() -> None:
    assert interval(Stage(samples(0.1)), "p95") == interval(Stage(samples(0.1)), "p95")


@pytest.mark.parametrize("stage", [Stage(), Stage((0.5,)), Stage(stated={"median": 0.5}, count=50)])
def test_without_samples_there_is_none(stage: Stage) -> None:
    assert interval(stage, "median") is None


def test_single_samples_are_judged_by_their_iterations_only() -> None:
    assert interval(Stage(samples(0.1)), "max") is None
    assert interval(Stage(samples(0.1), per_iteration=40), "max") is not None


def test_uncached_loads_span_their_own_range() -> None:
    span = interval(Stage((0.915, 0.613, 0.605), per_iteration=1), "median")
    assert span == pytest.approx((0.605, 0.915))
