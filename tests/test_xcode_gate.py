"""Verdicts: pass, fail, too noisy; a gate that cannot look says no."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fuseport.validate.xcode.gate import FAIL, NOISY, PASS, gate, judge_regression, judge_rule, show
from fuseport.validate.xcode.report import Report
from fuseport.validate.xcode.rules import RuleError, parse_rule
from fuseport.validate.xcode.stage import Stage
from xcode_samples import MAC, PHONE, read


def predicting(*medians: float, scale: float = 1.0) -> Report:
    """The phone's report with iterations of these medians, in ms."""
    samples = tuple(scale * m * 1e-3 * (1 + 1e-4 * (i % 5)) for m in medians for i in range(40))
    report = read(PHONE.read_bytes())
    return replace(report, stages=dict(report.stages) | {"predict": Stage(samples, 40)})


@pytest.mark.parametrize(("rule", "outcome"), [
    ("predict.p95<=16ms", PASS),
    ("predict.p95<=0.2ms", FAIL),
    ("predict<=0.438ms", NOISY),
    ("predict>0.3ms", PASS),
    ("load.uncached<=2s", PASS),
    ("load.uncached<=700ms", NOISY),
    ("load.uncached<=500ms", FAIL),
    ("ane.share>=0.9", PASS),
    ("ane.share>=0.95", FAIL),
    ("switches<=1", PASS),
    ("switches<1", FAIL),
    ("size==16126B", PASS),
    ("warmup<=1s", FAIL),
])  # fmt: skip
def test_rules_on_the_phone(rule: str, outcome: str) -> None:
    verdict = judge_rule(read(PHONE.read_bytes()), parse_rule(rule))
    assert (verdict.outcome, verdict.rule) == (outcome, rule)


def test_a_metric_that_is_not_there_fails_and_says_so() -> None:
    verdict = judge_rule(read(b"Average inference time cost: 3.5 ms\n"), parse_rule("ane.share>=0"))
    assert (verdict.outcome, verdict.reason) == (FAIL, "the report has no ane.share")


@pytest.mark.parametrize(("before", "after", "outcome"), [
    ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0), PASS),
    ((1.0, 1.0, 1.0), (1.2, 1.2, 1.2), FAIL),
    ((1.0, 1.0, 1.0), (0.8, 0.8, 0.8), PASS),
    ((0.196, 0.241, 0.229), (0.196, 0.241, 0.229), NOISY),
    ((0.196, 0.241, 0.229), (0.4, 0.4, 0.4), FAIL),
    ((1.0, 1.0, 1.0), (1.0, 1.07, 1.03), NOISY),
    ((1.0, 1.0, 1.0), (1.0, 1.02, 1.01), PASS),
])  # fmt: skip
def test_regressions(before: tuple[float, ...], after: tuple[float, ...], outcome: str) -> None:
    (verdict,) = judge_regression(predicting(*after), predicting(*before), 0.05, ("predict.median",))
    assert (verdict.outcome, verdict.rule) == (outcome, "predict.median at most 5 % over the base")


def test_a_regression_of_what_one_does_not_have() -> None:
    report = read(PHONE.read_bytes())
    less = replace(report, stages={"predict": report.stages["predict"]})
    (verdict,) = judge_regression(report, less, 0.05, ("load.uncached",))
    assert (verdict.outcome, verdict.reason) == (FAIL, "the base has no load.uncached")


@pytest.mark.parametrize("metric", ["ane.share", "speed", "switches"])
def test_only_times_regress(metric: str) -> None:
    with pytest.raises(RuleError, match="expected a time"):
        judge_regression(predicting(1.0), predicting(1.0), 0.05, (metric,))


def test_reports_of_different_devices_are_not_compared() -> None:
    with pytest.raises(RuleError, match="cannot be compared: device iPhone 16 Pro here, MacBook Pro"):
        gate(read(PHONE.read_bytes()), [], read(MAC.read_bytes()), 0.05)


def test_different_units_are_not_compared() -> None:
    one = read(PHONE.read_bytes())
    with pytest.raises(RuleError, match="compute units"):
        gate(one, [], replace(one, config=replace(one.config, units="CPU only")), 0.05)


def test_nothing_to_judge() -> None:
    with pytest.raises(RuleError, match="nothing to judge"):
        gate(read(PHONE.read_bytes()), [])


def test_rules_and_a_regression_together() -> None:
    verdicts = gate(predicting(1.2), [parse_rule("predict<=2ms")], predicting(1.0), 0.05)
    assert [verdict.outcome for verdict in verdicts] == [PASS, FAIL]


def test_times_of_zero_do_not_divide() -> None:
    (verdict,) = judge_regression(predicting(0.0), predicting(0.0, 1.0, 1.0), 0.05, ("predict.median",))
    assert verdict.outcome in (PASS, NOISY)
    (verdict,) = judge_regression(predicting(1.0), predicting(0.0), 0.05, ("predict.median",))
    assert verdict.outcome == FAIL


@pytest.mark.parametrize(("value", "kind", "text"), [
    (0.0123456, "time", "12.35 ms"),
    (2.5, "time", "2.5 s"),
    (12e6, "size", "12 MB"),
    (0.9442, "share", "94.4%"),
    (0.05, "growth", "+5.0%"),
    (3.0, "count", "3"),
])  # fmt: skip
def test_values_have_units(value: float, kind: str, text: str) -> None:
    assert show(value, kind) == text
