"""Areas are proportional, lie inside their parents, and do not overlap; axes put values where they belong."""

from __future__ import annotations

import pytest
from fuseport.export.page import figures
from fuseport.export.page.scale import from_zero, logarithmic
from fuseport.export.page.squarify import Area, layout, tree

AMOUNTS = (("a.b", 6.0), ("a.c", 2.0), ("d", 3.0), ("e.f.g", 1.0), ("", 4.0), ("none", 0.0))


def overlap(one: Area, other: Area) -> float:
    width = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    height = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    return max(0.0, width) * max(0.0, height)


def test_areas_are_proportional_and_fill_the_box() -> None:
    leaves = [area for area in layout(tree(AMOUNTS), 100, 64, 0.0) if area.leaf]
    assert {area.path: round(area.width * area.height) for area in leaves} == {
        "a.b": 2400, "a.c": 800, "d": 1200, "e.f.g": 400, "": 1600,
    }  # fmt: skip
    assert not any(overlap(a, b) > 1e-6 for i, a in enumerate(leaves) for b in leaves[:i])
    assert overlap(leaves[0], leaves[0]) > 0


def test_a_parent_keeps_a_strip_for_its_name() -> None:
    areas = {area.path: area for area in layout(tree(AMOUNTS), 1000, 640, 17.0)}
    assert areas["a.b"].y >= areas["a"].y + 17
    assert areas["e.f.g"].label == "e.f.g", "a chain of single children is one area"


def test_axes() -> None:
    log = logarithmic([2e-6, 3e-3])
    assert (log.low, log.high) == pytest.approx((1e-6, 1e-2))
    assert log.at(1e-4) == 50
    assert (log.at(0), log.at(1)) == (0, 100)
    assert [text for _, text in from_zero(17, "ms").marks] == ["0 ms", "5 ms", "10 ms", "15 ms"]


def test_figures_have_three_digits_and_a_unit() -> None:
    assert [figures.milliseconds(x) for x in (0.01234, 0.437, 5.7235, 999.6, None)] == [
        "12.3 µs", "0.437 ms", "5.72 ms", "1.00 s", "–",
    ]  # fmt: skip
    assert [figures.short(x) for x in (232, 6_307_596, 241_320_768)] == ["232", "6.31 M", "241 M"]
    assert [figures.growth(x) for x in (-0.326, 0.0, 1.0)] == ["−32.6%", "0%", "+100%"]
    assert figures.error(1.18e-6) == "1.2e-6"
