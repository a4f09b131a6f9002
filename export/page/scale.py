"""Axes: where a value lies, as a percentage of the plot's width, and the ticks that tell so.

Percentages let a drawing stretch with the window while its texts keep their size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Axis:
    """From `low` to `high`, both in the values' unit; `ticks` are (value, text)."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """Percent of the width, 0 to 100; values beyond an end lie on it."""
        if self.logarithmic:
            value = math.log10(value) if value > 0 else -math.inf
            low, high = math.log10(self.low), math.log10(self.high)
        else:
            low, high = self.low, self.high
        return round(100 * min(1.0, max(0.0, (value - low) / (high - low))), 3)

    @property
    def marks(self) -> tuple[tuple[float, str], ...]:
        """Each tick as (percent, text)."""
        return tuple((self.at(value), text) for value, text in self.ticks)


def logarithmic(values: Iterable[float], *, most: int = 6) -> Axis:
    """Whole decades around the positive ones of `values`, with at most `most` ticks on them."""
    found = [value for value in values if 0 < value < math.inf]
    low = math.floor(math.log10(min(found, default=1e-6)) - 0.2)
    high = max(low + 1, math.ceil(math.log10(max(found, default=1.0)) + 0.2))
    step = math.ceil((high - low) / most)
    ticks = tuple((10.0**power, f"1e{power}") for power in range(low, high + 1, step))
    return Axis(10.0**low, 10.0**high, ticks, logarithmic=True)


def from_zero(highest: float, unit: str, *, most: int = 5) -> Axis:
    """From zero to a little over `highest`, with ticks at multiples of 1, 2 or 5 (Heckbert, "Nice numbers", 1990)."""
    highest = highest if 0 < highest < math.inf else 1.0
    rough = highest / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(nice * power for nice in (1, 2, 5, 10) if nice * power >= rough * 0.999)
    high = highest * 1.04
    ticks = tuple((i * step, f"{i * step:.10g}{f' {unit}' * (unit != '')}") for i in range(int(high / step) + 1))
    return Axis(0.0, high, ticks)
