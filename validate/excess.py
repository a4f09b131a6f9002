"""How far over its bound is a run? One number for those who search: 1 is the bound, infinity a NaN or an overflow.

The bound is the caller's tolerance, or the one that a float16 file has without a yardstick of its own.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .bounds import allowance_of, errors
from .verdict import ILL_CONDITIONED, Tolerance, kind, samples

Outputs = Mapping[str, NDArray]


def excess_of(
    truth: Outputs, reference: Outputs, given: Outputs, precision: str, tolerance: Tolerance | None = None
) -> float:
    """The worst error of `given`, over float outputs and samples, in units of what passes.

    `truth` is the model in float64, `reference` in float32: samples that it cannot compute itself do not count, unless
    there are no others.
    """
    names = [name for name, values in truth.items() if kind(values) == "float"]
    return max((_of_output(truth[n], reference[n], given[n], precision, tolerance) for n in names), default=0.0)


def _of_output(
    truth: NDArray, reference: NDArray, given: NDArray, precision: str, tolerance: Tolerance | None
) -> float:
    exact, single, ours = samples(truth), samples(reference), samples(given)
    if (np.isfinite(exact) & ~np.isfinite(ours)).any():
        return np.inf
    judged = errors(single, exact).l2 <= ILL_CONDITIONED
    rows = judged if judged.any() else np.ones_like(judged)
    exact, ours = exact[rows], ours[rows]
    if tolerance is not None:
        allowed = tolerance.atol + tolerance.rtol * np.abs(exact)
        return float(np.max(np.abs(ours - exact) / np.maximum(allowed, 1e-300), initial=0.0))
    found, (l2, peak) = errors(ours, exact), allowance_of(precision).unmeasured
    return float(max(np.max(found.l2, initial=0.0) / l2, np.max(found.peak, initial=0.0) / peak))
