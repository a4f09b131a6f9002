"""Treemaps and placement strips as geometry, in percent of the plot, ready for a template."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from .blocks import Measure, Step, Strip, Treemap
from .figures import many, percent, short
from .squarify import Area, layout, tree

WIDE, NARROW = (1000.0, 460.0), (360.0, 560.0)
"""The sizes in pixels that labels are made for; the page shows the one that suits the window."""

TITLE, LETTER, HUES = 17.0, 6.6, 8
"""The height of a parent's strip, the width of a letter, and the number of colours."""


def treemap(chart: Treemap) -> dict[str, Any]:
    """One panel per measure, laid out for wide and for narrow windows."""
    return {"panels": [_panel(measure) for measure in chart.measures]}


def _panel(measure: Measure) -> dict[str, Any]:
    root = tree(measure.amounts)
    return {
        "name": measure.name,
        "total": f"{short(root.total)} {measure.unit}" if measure.unit else "",
        "layouts": [
            (name, [_area(area, size, root.total, measure.unit) for area in layout(root, *size, TITLE)])
            for name, size in (("wide", WIDE), ("narrow", NARROW))
        ],
    }


def _area(area: Area, size: tuple[float, float], total: float, unit: str) -> dict[str, Any]:
    letters = int((area.width - 8) / LETTER)
    part = percent(area.amount / total)
    amount = f"{short(area.amount)} {unit}, {part}" if unit else part
    return {
        "x": round(100 * area.x / size[0], 3),
        "y": round(100 * area.y / size[1], 3),
        "width": round(100 * area.width / size[0], 3),
        "height": round(100 * area.height / size[1], 3),
        "hue": area.group % HUES,
        "leaf": area.leaf,
        "label": _cut(area.label, letters) if area.height >= 14 else "",
        "note": part if area.leaf and area.height >= 32 and letters >= 6 else "",
        "title": f"{area.path or '(root)'}: {amount}",
    }


def _cut(text: str, letters: int) -> str:
    """The text in so many letters; its end says more than its beginning. Nothing where only a stump would be left."""
    if len(text) <= letters:
        return text
    return f"…{text[len(text) - letters + 1 :]}" if letters >= 8 else ""


@dataclass(frozen=True)
class _Run:
    """Neighbouring operations with one unit and the same other choices; from and to in parts of the whole."""

    steps: tuple[Step, ...]
    first: int
    begin: float
    end: float


def strip(chart: Strip) -> dict[str, Any]:
    """Lanes in program order: by count of operations, and by their part of the cost where that is known."""
    panels = [("By order", _lanes(chart, lambda step: 1.0))]
    if any(step.share for step in chart.steps):
        panels.append(("By cost", _lanes(chart, lambda step: step.share or 0.0)))
    return {"panels": panels, "steps": len(chart.steps)}


def _lanes(chart: Strip, weigh: Callable[[Step], float]) -> list[dict[str, Any]]:
    runs = list(_runs(chart.steps, weigh))
    return [{"key": key, "name": name, "parts": list(_parts(runs, key))} for key, name in chart.units]


def _runs(steps: tuple[Step, ...], weigh: Callable[[Step], float]) -> Iterator[_Run]:
    total = sum(map(weigh, steps)) or 1.0
    first, begin = 0, 0.0
    for _, group in groupby(steps, key=lambda step: (step.unit, step.could)):
        some = tuple(group)
        end = begin + sum(map(weigh, some)) / total
        yield _Run(some, first, begin, end)
        first, begin = first + len(some), end


def _parts(runs: list[_Run], unit: str) -> Iterator[dict[str, Any]]:
    for run in runs:
        here, could = run.steps[0].unit == unit, unit in run.steps[0].could
        if here or could:
            yield {
                "x": round(100 * run.begin, 3),
                "width": round(100 * (run.end - run.begin), 3),
                "here": here,
                "title": _told(run, here=here),
            }


def _told(run: _Run, *, here: bool) -> str:
    kinds = list(dict.fromkeys(step.kind for step in run.steps))
    shown = ", ".join(kinds[:5]) + (" …" if len(kinds) > 5 else "")
    place = f"operation {run.first + 1}" + (f" to {run.first + len(run.steps)}" if len(run.steps) > 1 else "")
    verb = "run" if here else "could run"
    return f"{place}: {many(len(run.steps), 'operation')} {verb} here ({shown}); first is {next(iter(run.steps)).name}"
