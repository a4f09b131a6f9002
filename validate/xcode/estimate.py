"""Estimated time per operation, module and operator type.

Xcode's per-operation times are no measurements, and neither are these: an operation's share of Core ML's relative
cost times the median prediction, seconds(op) = weight(op) / Σ weight × median. Where a format measures operations
(ONNX Runtime, TFLite) their own times are taken and the rows say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .report import Operation, Report
from .stage import Stage, statistic

ESTIMATED = "estimated: share of the cost weight × median prediction; a cost share is not a share of the time"
MEASURED = "measured by the runtime, mean per run"
UNMATCHED = "(no module found)"


@dataclass(frozen=True)
class Row:
    """A group of operations: its part of the whole, and its time in seconds (None without a prediction time)."""

    key: str
    operations: int
    share: float | None
    seconds: float | None
    units: tuple[str, ...]


def method(report: Report) -> str:
    """How the times of this report's rows came about."""
    return MEASURED if any(op.seconds is not None for op in report.operations) else ESTIMATED


def operation_seconds(report: Report) -> tuple[float | None, ...]:
    """One time per operation, in seconds: measured where the file has it, else estimated, else None."""
    median = statistic(report.stages.get("predict", Stage()), "median")
    total = sum(op.weight or 0.0 for op in report.operations)
    return tuple(_seconds(op, total, median) for op in report.operations)


def by_operation(report: Report) -> list[Row]:
    """One row per operation, the costliest first."""
    return _group(report, [f"{op.name} ({op.type})" for op in report.operations])


def by_type(report: Report) -> list[Row]:
    """One row per operator type, the costliest first."""
    return _group(report, [op.type for op in report.operations])


def by_module(report: Report, modules: Sequence[str | None], *, depth: int | None = None) -> list[Row]:
    """One row per module path, cut to `depth` components; operations without a module are one row of their own."""
    return _group(report, [UNMATCHED if path is None else _cut(path, depth) for path in modules])


def _cut(path: str, depth: int | None) -> str:
    return ".".join(path.split(".")[:depth]) if path else "(root)"


def _group(report: Report, keys: Sequence[str]) -> list[Row]:
    groups: dict[str, list[int]] = {}
    for i, key in enumerate(keys):
        groups.setdefault(key, []).append(i)
    seconds = operation_seconds(report)
    total = sum(op.weight or 0.0 for op in report.operations)
    rows = [
        _row(key, [report.operations[i] for i in group], [seconds[i] for i in group], total)
        for key, group in groups.items()
    ]
    return sorted(rows, key=_cost, reverse=True)


def _row(key: str, operations: Sequence[Operation], seconds: Iterable[float | None], total: float) -> Row:
    known = [s for s in seconds if s is not None]
    return Row(
        key=key,
        operations=len(operations),
        share=sum(op.weight or 0.0 for op in operations) / total if total > 0 else None,
        seconds=sum(known) if known else None,
        units=tuple(dict.fromkeys(op.unit for op in operations if op.unit)),
    )


def _cost(row: Row) -> tuple[float, float]:
    return row.share or 0.0, row.seconds or 0.0


def _seconds(op: Operation, total: float, median: float | None) -> float | None:
    if op.seconds is not None:
        return op.seconds
    return op.weight / total * median if op.weight is not None and median is not None and total > 0 else None
