"""The rules of a gate: `predict.p95<=16ms`, `load.uncached<=2s`, `ane.share>=0.9`, `switches<=4`, `size<=12MB`.

A rule is a metric, a comparison and a limit. A time needs its unit, a share is a fraction or a percentage. A stage
without a statistic means its median.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass

from .noise import Interval, interval
from .placement import place
from .report import Report
from .stage import STATISTICS, Stage, statistic

STAGES = ("compile", "load.uncached", "load.cached", "load.all", "warmup", "predict")
COUNTS = ("switches", "operations")
UNIT_METRICS = ("share", "eligible", "operations")
COMPARISONS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt, "==": operator.eq}
TIME_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}
SIZE_UNITS = {"B": 1.0, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}
_RULE = re.compile(
    r"\s*([A-Za-z][\w.]*)\s*(<=|>=|==|<|>)\s*([0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)\s*([A-Za-zµ%]*)\s*"
)


class RuleError(ValueError):
    """A rule that cannot be understood. The message is one line."""


@dataclass(frozen=True)
class Rule:
    """`text` is the rule as written; `limit` is in seconds, bytes, or units of one."""

    text: str
    metric: str
    comparison: str
    limit: float
    kind: str

    def holds(self, value: float) -> bool:
        return COMPARISONS[self.comparison](value, self.limit)


def parse_rule(text: str) -> Rule:
    """The rule of a text. Raises `RuleError` naming what is wrong with it."""
    match = _RULE.fullmatch(text)
    if not match:
        raise RuleError(f"rule {text[:80]!r}: expected METRIC, <= >= < > or ==, and a number, as in predict.p95<=16ms")
    metric, comparison, number, unit = match.groups()
    kind = _kind(metric, text)
    return Rule(text.strip(), metric, comparison, float(number) * _factor(kind, unit, text), kind)


def parse_part(text: str) -> float:
    """ "5%" or "0.05" → 0.05. Raises `RuleError`."""
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(%?)\s*", text)
    if not match or (not match.group(2) and float(match.group(1)) >= 1):
        raise RuleError(f"{text[:80]!r}: expected a percentage, as in 5%")
    return float(match.group(1)) * (0.01 if match.group(2) else 1.0)


def measure(report: Report, metric: str) -> tuple[float | None, Interval | None]:
    """(the metric's value in seconds, bytes or units of one, its noise interval); None where the report has none."""
    if metric == "size":
        return (None if report.model.bytes is None else float(report.model.bytes)), None
    if stage_of(metric):
        name, _, wanted = stage_of(metric).partition("|")
        stage = report.stages.get(name, Stage())
        return statistic(stage, wanted), interval(stage, wanted)
    return _placed(report, metric), None


def stage_of(metric: str) -> str:
    """ "load.uncached.max" → "load.uncached|max", "predict" → "predict|median"; "" for a metric of another kind."""
    for stage in STAGES:
        rest = metric.removeprefix(stage)
        if rest != metric and (not rest or rest[1:] in STATISTICS):
            return f"{stage}|{rest[1:] or 'median'}"
    return ""


def _placed(report: Report, metric: str) -> float | None:
    placement = place(report)
    if placement is None:
        return None
    if metric in COUNTS:
        return float(placement.switches if metric == "switches" else placement.dispatched)
    name, _, what = metric.partition(".")
    unit = placement.unit(name)
    if unit is None:
        return 0.0 if name in ("ane", "gpu", "cpu") else None
    if what == "operations":
        return float(unit.placed)
    if unit.placed_share is None or unit.eligible_elsewhere_share is None:
        return None
    return unit.placed_share + (unit.eligible_elsewhere_share if what == "eligible" else 0.0)


def _kind(metric: str, text: str) -> str:
    if stage_of(metric):
        return "time"
    if metric == "size":
        return "size"
    if metric in COUNTS or metric.partition(".")[2] == "operations":
        return "count"
    name, _, what = metric.partition(".")
    if what in UNIT_METRICS and name:
        return "share"
    raise RuleError(
        f"rule {text[:80]!r}: unknown metric {metric[:40]!r}; known: {', '.join(STAGES)} "
        f"(with .{', .'.join(STATISTICS)}); ane.share, .eligible, .operations (or gpu, cpu); switches, operations, size"
    )


def _factor(kind: str, unit: str, text: str) -> float:
    units = {"time": TIME_UNITS, "size": SIZE_UNITS, "share": {"": 1.0, "%": 0.01}, "count": {"": 1.0}}[kind]
    if unit not in units:
        known = ", ".join(u or "no unit" for u in units)
        raise RuleError(f"rule {text[:80]!r}: a {kind} takes {known}; found {unit or 'no unit'}")
    return units[unit]
