"""Is the graph of a float16 file the model's? Judged apart from what float16 costs, and so a thousand times sharper.

Run in float64, a float16 file shows no rounding but that of its constants. So does the captured program with the same
constants rounded (weights, and the numbers inside operators: `inner_constants.py`). What is left between the two is
1e-9 to 1e-6 for a right file, where the check against the model itself must allow 3e-3 to 3e-2: a convolution that is
5 % wrong, in a branch that hardly shows, passes there and not here.

A converter may round another constant than we do (one that it folded first). So a file beyond this bound is not failed
for it; its layers are compared, and one that is far off (GRAVE times what rounding could do) is a fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...validate.bounds import ALLOWANCES, errors
from ...validate.verdict import kind, samples

Outputs = Mapping[str, NDArray]

GRAVE = 4.0
"""Excess of a layer that no constant, rounded in another order, explains."""


@dataclass(frozen=True)
class GraphError:
    """The largest relative L2 error of an output beside the model with the same constants rounded, and its bound."""

    error: float
    bound: float

    @property
    def passes(self) -> bool:
        return self.error <= self.bound

    def told(self) -> str:
        verb = "within" if self.passes else "beyond"
        return f"beside the model with the same constants rounded {self.error:.1e}, {verb} {self.bound:.1e}"


def graph_error(truth: Outputs, reference: Outputs, rounded: Outputs, given: Outputs) -> GraphError | None:
    """The output that is furthest beyond its bound, which is that of a float32 file; None without float outputs."""
    found = [
        _of_output(samples(truth[name]), samples(reference[name]), samples(rounded[name]), samples(given[name]))
        for name in truth
        if kind(truth[name]) == "float" and name in given and given[name].shape == truth[name].shape
    ]
    return max(found, key=lambda one: one.error / one.bound, default=None)


def _of_output(truth: NDArray, reference: NDArray, rounded: NDArray, given: NDArray) -> GraphError:
    floor, allowance = errors(reference, truth).l2, ALLOWANCES["float32"]
    bound = np.maximum(allowance.factor * np.maximum(floor, np.median(floor)), allowance.least[0])
    error = errors(given, rounded).l2
    worst = int(np.argmax(error / bound))
    return GraphError(float(error[worst]), float(bound[worst]))
