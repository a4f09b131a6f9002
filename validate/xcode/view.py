"""One report with everything that follows from it, as plain values: what `--json` prints and a page can draw.

Times are seconds, shares fractions of one. The keys, beside those of the normal form (`codec.py`):
`statistics` (per stage), `iterations` (per stage: medians, spread), `placement` (units, switches, borders; null where
the format does not tell), `cost` (method, by_type, by_module), `join`, `published`.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from .codec import to_dict
from .estimate import Row, by_module, by_type, method, operation_seconds
from .join import Join
from .placement import Border, Placement, place
from .published import beside
from .report import Report
from .stage import iteration_medians, spread, statistics

SCHEMA = "fuseport.performance.view/1"


def view(report: Report, join: Join | None = None, notes: tuple[str, ...] = ()) -> dict[str, Any]:
    """The report and all that is computed of it. The normal form lies in it unchanged."""
    placement, published = place(report), beside(report, join)
    return to_dict(report) | {
        "schema": SCHEMA,
        "notes": list(notes),
        "statistics": {name: statistics(stage) | {"n": stage.n} for name, stage in report.stages.items()},
        "iterations": {
            name: {"medians": list(medians), "spread": spread(stage)}
            for name, stage in report.stages.items()
            if (medians := iteration_medians(stage))
        },
        "placement": _placement(placement) if placement else None,
        "cost": {
            "method": method(report),
            "by_type": [asdict(row) for row in by_type(report)],
            "by_module": [asdict(row) for row in modules_of(report, join)],
        },
        "operation_seconds": list(operation_seconds(report)),
        "join": asdict(join) if join else None,
        "published": asdict(published) if published else None,
    }


def modules_of(report: Report, join: Join | None, depth: int | None = None) -> list[Row]:
    """The cost rows per module; empty for a report that is not joined to an export."""
    return by_module(report, join.modules, depth=depth) if join else []


def _placement(placement: Placement) -> dict[str, Any]:
    return {
        "units": [asdict(unit) for unit in placement.units],
        "switches": placement.switches,
        "borders": [_border(border) for border in placement.borders],
        "dispatched": placement.dispatched,
        "listed": placement.listed,
        "unplaced": placement.unplaced,
        "weight_total": placement.weight_total,
    }


def _border(border: Border) -> dict[str, Any]:
    return {
        "function": border.after.function,
        "block": border.after.block,
        "before": {"name": border.before.name, "type": border.before.type, "unit": border.before.unit},
        "after": {"name": border.after.name, "type": border.after.type, "unit": border.after.unit},
    }
