"""How long each runner of an export takes: the section of its page."""

from __future__ import annotations

from typing import Any

from .blocks import Cell, Fold, Section, Spread, Spreads, Table, Traces
from .figures import count, many, milliseconds, percent

UNSTEADY = 0.25
"""As `validate.latency` has it: half of the samples spread over more than this part of the median."""


FIGURES = {
    "median": "median_ms",
    "at least": "low_ms",
    "at most": "high_ms",
    "p90": "p90_ms",
    "p95": "p95_ms",
    "p99": "p99_ms",
    "min": "min_ms",
}
"""Column → field; the bounds are those of the median's interval. The earliest reports have fewer."""


def latency(report: dict[str, Any]) -> Section:
    """Distributions of the interleaved runs, their figures, and their course in time."""
    taken = report["latencies"]
    rows = tuple(_spread(name, one) for name, one in taken.items())
    lead = "; ".join(dict.fromkeys(_conditions(one) for one in taken.values()))
    if not rows:
        return Section("How fast is it?", "", ())
    folds = (Fold("All figures", (_table(taken),)), Fold("In the order in which they were taken", (Traces(rows),)))
    return Section("How fast is it?", f"All runners took turns on one machine. {lead}.", (Spreads(rows), *folds))


def _conditions(one: dict[str, Any]) -> str:
    return (
        f"{one['device']}, {many(one['threads'], 'thread')}, batch {one['batch']}, after {one['warmup']} warm-up calls"
        f"; timed: {one['timed']}"
    )


def _spread(name: str, one: dict[str, Any]) -> Spread:
    unsteady = one["spread"] > UNSTEADY
    detail = f"{one['samples']:,} samples" + (
        f", unsteady: half of them over {percent(one['spread'])}" if unsteady else ""
    )
    tone = "unsure" if unsteady else "plain"
    return Spread(name, detail, tuple(one["samples_ms"]), one["median_ms"], ("p90", one["p90_ms"]), tone)


def _table(taken: dict[str, dict[str, Any]]) -> Table:
    rows = tuple(
        (
            Cell(name),
            *(milliseconds(one.get(key)) for key in FIGURES.values()),
            percent(one["spread"]),
            *(count(one[key]) for key in ("samples", "warmup", "threads")),
        )
        for name, one in taken.items()
    )
    return Table(("runner",), (*FIGURES, "spread", "samples", "warm-up", "threads"), rows)
