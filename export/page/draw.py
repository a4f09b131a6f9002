"""Rows of a chart as geometry: where things lie in percent of the plot, ready for a template.

A drawing is a plain dictionary that its template reads. Nothing here is text that a template would not escape.
"""

from __future__ import annotations

from typing import Any

from .blocks import Bars, Bounds, Spread, Spreads, Traces
from .figures import error, milliseconds
from .ridge import course, density
from .scale import Axis, from_zero, logarithmic

Drawing = dict[str, Any]


def bounds(chart: Bounds) -> Drawing:
    """Each error as a point, what is allowed as a band from the left, float32's own error as a tick."""
    axis = logarithmic(figure for row in chart.rows for figure in (row.value, row.floor, row.bound) if figure)
    rows = [
        {
            "row": row,
            "at": None if row.value is None else axis.at(row.value),
            "floor": None if row.floor is None else axis.at(row.floor),
            "bound": None if row.bound is None else axis.at(row.bound),
            "figure": error(row.value),
            "note": f"of {error(row.bound)} allowed" if row.bound is not None else row.verdict,
        }
        for row in chart.rows
    ]
    return {"rows": rows, "marks": axis.marks}


def spreads(chart: Spreads) -> Drawing:
    """Each distribution as a ridge on one axis, with its median and its upper percentile."""
    axis = from_zero(max(_reach(row) for row in chart.rows), "ms")
    rows = [
        {
            "row": row,
            "ridge": density(row.samples, axis) if len(row.samples) > 1 else None,
            "median": axis.at(row.median),
            "high": axis.at(row.high[1]) if row.high else None,
            "beyond": sum(sample > axis.high for sample in row.samples),
            "figure": milliseconds(row.median),
            "note": f"{row.high[0]} {milliseconds(row.high[1])}" if row.high else "",
        }
        for row in chart.rows
    ]
    return {"rows": rows, "marks": axis.marks, "high": next((row.high[0] for row in chart.rows if row.high), "")}


def _reach(row: Spread) -> float:
    """How far the axis must go: beyond all but the slowest hundredth of the samples."""
    slowest = sorted(row.samples)[: max(1, int(0.99 * len(row.samples)))][-1:]
    return max([row.median, *slowest, *([row.high[1]] if row.high else [])])


def traces(chart: Traces) -> Drawing:
    """Each series on an axis of its own, from its fastest sample to the slowest but a hundredth."""
    rows = []
    for row in chart.rows:
        low, high = min(row.samples), _reach(row)
        axis = Axis(low, high if high > low else low + 1.0, ())
        band, line = course(row.samples, axis)
        rows.append({"row": row, "band": band, "line": line, "top": milliseconds(high), "bottom": milliseconds(low)})
    return {"rows": rows}


def bars(chart: Bars) -> Drawing:
    """Each amount as a bar from zero."""
    amounts = [amount for row in chart.rows for amount in (row.value, row.mark) if amount is not None]
    full = chart.full or max(amounts, default=1.0) or 1.0
    axis = Axis(0.0, full, ())
    rows = [
        {"row": row, "to": axis.at(row.value), "mark": None if row.mark is None else axis.at(row.mark)}
        for row in chart.rows
    ]
    return {"rows": rows, "mark": chart.mark}
