"""The gate: does a report keep its rules, and is it slower than a base by more than a stated part?

The verdict is pass, fail or too noisy: when the limit lies inside the metric's noise interval (`noise.py`), one report
cannot tell. A metric without an interval (a count, a size, a statistic without samples) is compared as it stands. A
metric that the report does not have fails: a gate that cannot look must not say pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .noise import Interval
from .report import Report
from .rules import Rule, RuleError, measure, stage_of

PASS, FAIL, NOISY = "pass", "fail", "too noisy"
_CLOCK = 1e-9
"""No clock resolves less, in seconds: a time of zero is at least this."""
REGRESSION_METRICS = ("predict.median",)


@dataclass(frozen=True)
class Verdict:
    """One judgement. `value` and `limit` are in seconds, bytes or units of one, as `kind` says."""

    rule: str
    outcome: str
    reason: str
    kind: str
    value: float | None = None
    limit: float | None = None
    noise: Interval | None = None


def judge_rule(report: Report, rule: Rule) -> Verdict:
    """Whether the report keeps one rule."""
    value, noise = measure(report, rule.metric)
    if value is None:
        reason = f"the report has no {rule.metric}"
        return Verdict(rule.text, FAIL, reason, rule.kind, limit=rule.limit)
    ends = {rule.holds(end) for end in (noise or (value,))}
    outcome = NOISY if len(ends) > 1 else PASS if rule.holds(value) else FAIL
    reason = f"{show(value, rule.kind)}{_span(noise, rule.kind)}"
    if outcome == NOISY:
        reason += f"; the limit {show(rule.limit, rule.kind)} lies within the noise, measure again"
    return Verdict(rule.text, outcome, reason, rule.kind, value, rule.limit, noise)


def judge_regression(report: Report, base: Report, allowed: float, metrics: Sequence[str]) -> list[Verdict]:
    """Whether each of the times grew by more than `allowed` (0.05 is 5 %) since the base.

    Raises `RuleError` for a metric that is no time, and when the two were not measured on the same kind of device with
    the same units.
    """
    for metric in metrics:
        if not stage_of(metric):
            raise RuleError(f"--metric {metric[:40]!r}: expected a time, as in predict.median or load.uncached")
    for what, ours, theirs in (
        ("device", report.device.model, base.device.model),
        ("compute units", report.config.units, base.config.units),
        ("format", report.source.format, base.source.format),
    ):
        if ours != theirs:
            raise RuleError(f"cannot be compared: {what} {ours or 'unknown'} here, {theirs or 'unknown'} in the base")
    return [_grown(report, base, metric, allowed) for metric in metrics]


def gate(
    report: Report,
    rules: Sequence[Rule],
    base: Report | None = None,
    allowed: float | None = None,
    metrics: Sequence[str] = REGRESSION_METRICS,
) -> list[Verdict]:
    """Every verdict on the report. Raises `RuleError` for a base that cannot be compared, or nothing to judge."""
    verdicts = [judge_rule(report, rule) for rule in rules]
    if base is not None and allowed is not None:
        verdicts += judge_regression(report, base, allowed, metrics or REGRESSION_METRICS)
    if not verdicts:
        raise RuleError("nothing to judge: give a --rule, or --max-regression and a base")
    return verdicts


def show(value: float, kind: str) -> str:
    """A value with its unit, four significant digits."""
    if kind == "time":
        return f"{value:.4g} s" if value >= 1 else f"{value * 1e3:.4g} ms"
    if kind == "size":
        return f"{value / 1e6:.4g} MB"
    if kind in ("share", "growth"):
        return f"{value:+.1%}" if kind == "growth" else f"{value:.1%}"
    return f"{value:.10g}"


def _grown(report: Report, base: Report, metric: str, allowed: float) -> Verdict:
    (now, noise), (before, noise_before) = measure(report, metric), measure(base, metric)
    name = f"{metric} at most {allowed * 100:.4g} % over the base"
    if now is None or before is None or before <= 0:
        where = "report" if now is None else "base"
        return Verdict(name, FAIL, f"the {where} has no {metric}", "growth", limit=allowed)
    growth = now / before - 1
    span = _growth_span(noise or Interval(now, now), noise_before or Interval(before, before))
    outcome = PASS if span.high <= allowed else FAIL if span.low > allowed else NOISY
    reason = f"{show(before, 'time')} → {show(now, 'time')}, {show(growth, 'growth')}{_span(span, 'growth')}"
    if outcome == NOISY:
        reason += "; the noise is larger than the difference, measure again"
    return Verdict(name, outcome, reason, "growth", growth, allowed, span)


def _growth_span(now: Interval, before: Interval) -> Interval:
    return Interval(now.low / before.high - 1, now.high / max(before.low, _CLOCK) - 1)


def _span(noise: Interval | None, kind: str) -> str:
    return f" (noise {show(noise.low, kind)} to {show(noise.high, kind)})" if noise else ""
