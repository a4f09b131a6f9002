"""Which compute unit runs what: counts and cost shares per unit, and the borders between units along the program.

Three things are kept apart that Xcode draws alike: an operation that a unit could run and does not (eligible), one
that the chosen configuration keeps off the unit (not allowed), and one that the unit cannot run (incompatible).
A cost share is Core ML's own relative estimate; it is not a share of the measured time. Borders are counted between
neighbours in the order of one block, which is how they are listed, not necessarily how they execute.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .report import UNITS, Operation, Report

ALLOWED, NOT_ALLOWED, NOT_PRESENT, UNKNOWN = "allowed", "not allowed", "not on this device", "unknown"


@dataclass(frozen=True)
class UnitPlacement:
    """One unit's view of the program. Counts are operations; shares are fractions of the summed cost weight.

    `placed` run here; `eligible_elsewhere` could run here and run on another unit; `incompatible` cannot run here;
    `not_allowed` are kept off by the setting (or the device); of `unstated` the file says nothing.
    """

    unit: str
    status: str
    placed: int
    placed_share: float | None
    eligible_elsewhere: int
    eligible_elsewhere_share: float | None
    incompatible: int
    not_allowed: int
    unstated: int


@dataclass(frozen=True)
class Border:
    """Two neighbouring operations on different units: a transfer between them is likely."""

    before: Operation
    after: Operation


@dataclass(frozen=True)
class Placement:
    """`dispatched` operations of `listed` (constants included); `weight_total` is what the shares are taken of."""

    units: tuple[UnitPlacement, ...]
    borders: tuple[Border, ...]
    dispatched: int
    listed: int
    unplaced: int
    weight_total: float

    @property
    def switches(self) -> int:
        return len(self.borders)

    def unit(self, name: str) -> UnitPlacement | None:
        return next((unit for unit in self.units if unit.unit == name), None)


def place(report: Report) -> Placement | None:
    """The placement of a report; None when its format does not say where operations run."""
    operations = report.operations
    if not any(op.unit for op in operations):
        return None
    total = sum(op.weight or 0.0 for op in operations)
    named = dict.fromkeys(
        (*report.device.units, *(unit for op in operations for unit in (op.unit, *op.eligible) if unit))
    )
    order = [*(unit for unit in UNITS if unit in named), *(unit for unit in named if unit not in UNITS)]
    return Placement(
        units=tuple(_view(unit, report, total) for unit in order),
        borders=tuple(find_borders(operations)),
        dispatched=len(operations),
        listed=report.listed,
        unplaced=sum(op.unit is None for op in operations),
        weight_total=total,
    )


def find_borders(operations: Iterable[Operation]) -> list[Border]:
    """Neighbours on different units within each block, in program order; unplaced operations are passed over."""
    last: dict[tuple[str, str], Operation] = {}
    borders = []
    for operation in operations:
        if operation.unit is None:
            continue
        before = last.get((operation.function, operation.block))
        if before is not None and before.unit != operation.unit:
            borders.append(Border(before, operation))
        last[operation.function, operation.block] = operation
    return borders


def share_of(operations: Iterable[Operation], total: float) -> float | None:
    """The operations' part of the summed cost weight; None when the program carries no weight."""
    return sum(op.weight or 0.0 for op in operations) / total if total > 0 else None


def _view(unit: str, report: Report, total: float) -> UnitPlacement:
    status = _status(unit, report)
    placed = [op for op in report.operations if op.unit == unit]
    others = [op for op in report.operations if op.unit != unit]
    barred = status in (NOT_ALLOWED, NOT_PRESENT)
    eligible = [] if barred else [op for op in others if unit in op.eligible]
    refused = [] if barred else [op for op in others if any(unit == refused for refused, _ in op.refusals)]
    return UnitPlacement(
        unit=unit,
        status=status,
        placed=len(placed),
        placed_share=share_of(placed, total),
        eligible_elsewhere=len(eligible),
        eligible_elsewhere_share=share_of(eligible, total),
        incompatible=len(refused),
        not_allowed=len(others) if barred else 0,
        unstated=0 if barred else len(others) - len(eligible) - len(refused),
    )


def _status(unit: str, report: Report) -> str:
    allowed = report.config.allowed
    if report.device.units and unit not in report.device.units:
        return NOT_PRESENT
    if allowed is None:
        return UNKNOWN
    return ALLOWED if unit in allowed else NOT_ALLOWED
