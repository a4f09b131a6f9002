"""Samples as a shape: the density of a distribution, and the course of a series, as paths in a box of 100 × 100.

The box is stretched to the plot, so x is a percentage; y grows downwards, as SVG wants it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .scale import Axis

POINTS = 120
MOST = 5000
"""Samples that a density is estimated from; of more, evenly spaced ones of the sorted series are taken."""


def density(samples: Sequence[float], axis: Axis) -> str:
    """The closed outline of a Gaussian kernel estimate with Silverman's bandwidth (1986), 100 at its highest."""
    values = np.sort(np.asarray(samples, np.float64))
    values = values[np.linspace(0, len(values) - 1, min(len(values), MOST)).round().astype(int)]
    bandwidth = max(_silverman(values), (axis.high - axis.low) / 600)
    first, last = max(axis.low, values[0] - 3 * bandwidth), min(axis.high, values[-1] + 3 * bandwidth)
    at = np.linspace(first, max(first, last), POINTS)
    heights = np.exp(-0.5 * ((at[:, None] - values) / bandwidth) ** 2).sum(axis=1)
    heights *= 100 / heights.max() if heights.max() > 0 else 0.0
    points = [(axis.at(float(x)), 100 - float(y)) for x, y in zip(at, heights, strict=True)]
    return _path([(points[0][0], 100.0), *points, (points[-1][0], 100.0)]) + "Z"


def _silverman(values: NDArray[np.float64]) -> float:
    low, high = np.percentile(values, [25, 75])
    scale = min(float(values.std()), float(high - low) / 1.34) or float(values.std())
    return 0.9 * scale * len(values) ** -0.2


def course(samples: Sequence[float], axis: Axis) -> tuple[str, str]:
    """(band, line) of a series in its order: the band from each stretch's least to its largest, the line its median."""
    values = np.asarray(samples, np.float64)
    parts = np.array_split(values, min(POINTS, len(values)))
    xs = [100 * (i + 0.5) / len(parts) for i in range(len(parts))]
    lows, middles, highs = ([100 - axis.at(float(take(p))) for p in parts] for take in (np.min, np.median, np.max))
    band = [*zip(xs, highs, strict=True), *reversed([*zip(xs, lows, strict=True)])]
    return _path(band) + "Z", _path([*zip(xs, middles, strict=True)])


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in points)
