"""Every block's figures as a table: what Markdown writes for a chart, and what HTML folds below one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .blocks import Bars, Block, Bounds, Cell, Spread, Spreads, Strip, Table, Traces, Treemap, tone_of
from .figures import count, error, milliseconds, percent, short
from .squarify import tree

MOST = 1000
"""Rows that a page shows of any table; the rest is in the report's JSON."""


def table_of(block: Block, most: int = MOST) -> Table | None:
    """The figures of a chart, or the table itself, cut to `most` rows; None for a block that has none."""
    made = block if isinstance(block, Table) else None
    if make := MAKERS.get(type(block)):
        made = make(block)
    return _cut(made, most) if made else None


def _cut(table: Table, most: int) -> Table:
    more = len(table.rows) - most
    if more <= 0:
        return table
    told = (f"and {more:,} more in the JSON", *[""] * (len(table.rows[0]) - 1))
    return Table(table.left, table.right, (*table.rows[:most], told), table.caption)


def _bounds(chart: Bounds) -> Table:
    rows = tuple(
        (row.label, row.detail, Cell(row.verdict, tone_of(row.verdict)), *map(error, (row.value, row.bound, row.floor)))
        for row in chart.rows
    )
    return Table(("output", "where", "verdict"), ("error", "allowed", "rounding"), rows)


def _spreads(chart: Spreads | Traces) -> Table:
    high = next((row.high[0] for row in chart.rows if row.high), "")
    rows = tuple((row.label, *_times(row, high), row.detail) for row in chart.rows)
    return Table(("",), ("median", *([high] if high else []), "fastest", "slowest", ""), rows)


def _times(row: Spread, high: str) -> tuple[str, ...]:
    upper = [milliseconds(row.high[1] if row.high else None)] if high else []
    ends = (min(row.samples), max(row.samples)) if row.samples else (None, None)
    return (milliseconds(row.median), *upper, *map(milliseconds, ends))


def _bars(chart: Bars) -> Table:
    rows = tuple((row.label, row.detail, Cell(row.text, row.tone)) for row in chart.rows)
    if any(row.detail for row in chart.rows):
        return Table(("", " "), ("figure",), rows)
    return Table(("",), ("figure",), tuple((label, text) for label, _, text in rows))


def _treemap(chart: Treemap) -> Table:
    """The modules of the first measure, largest first, with what the other measures say of them."""
    amounts = [dict(measure.amounts) for measure in chart.measures]
    totals = [tree(measure.amounts).total or 1.0 for measure in chart.measures]
    paths = sorted(
        {path for some in amounts for path in some}, key=lambda path: [-some.get(path, 0) for some in amounts]
    )
    rows = []
    for path in paths:
        known = [some.get(path, 0) for some in amounts]
        figures = [text for v, total in zip(known, totals, strict=True) for text in (short(v), percent(v / total))]
        rows.append((Cell(path or "(root)", code=True), *figures))
    columns = [text for measure in chart.measures for text in (measure.name, "of all")]
    return Table(("module",), tuple(columns), tuple(rows))


def _strip(chart: Strip) -> Table:
    names = dict(chart.units)
    rows = tuple(
        (
            Cell(step.name, code=True),
            step.kind,
            names.get(step.unit or "", step.unit or "not told"),
            ", ".join(names.get(unit, unit) for unit in step.could if unit != step.unit),
            count(i + 1),
            percent(step.share),
        )
        for i, step in enumerate(chart.steps)
    )
    return Table(("operation", "type", "runs on", "could also run on"), ("number", "of cost"), rows)


MAKERS: dict[type, Callable[[Any], Table]] = {
    Bounds: _bounds,
    Spreads: _spreads,
    Traces: _spreads,
    Bars: _bars,
    Treemap: _treemap,
    Strip: _strip,
}
