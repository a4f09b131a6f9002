"""Which layer of an artifact is wrong? Every tensor of it beside the model's, and the first one whose error jumps.

An error travels: behind a wrong layer every tensor is wrong, and most networks amplify it further on. So a layer is not
held against the model's own tensor but against what the model computes *from the artifact's own inputs of that layer*:

    added    ||a - f(inputs of a)|| / ||f(inputs of a)||      f: the model's layer in float64
    cost     the same for the model's layer in the artifact's precision: what rounding alone adds here

`added` is free of what came before, so a layer jumps if `added` exceeds a small multiple of `cost`, for the tensor as a
whole or for one slice of it along any axis (one wrong channel, one wrong token), which the whole would dilute.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Allowed:
    """A layer may add `factor` x what rounding costs it, and at least `least` of the tensor's rms; a slice of it at
    least `of_slice` of its own rms, since a factor that is folded into weights before they are rounded moves them by as
    much as their rounding, but differently."""

    factor: float
    least: float
    of_slice: float


ALLOWED = {
    ("float32", "all values"): Allowed(factor=20, least=5e-6, of_slice=1e-5),
    ("float32", "weights"): Allowed(factor=3, least=5e-6, of_slice=1e-5),
    ("float16", "all values"): Allowed(factor=3, least=1e-3, of_slice=2e-3),
    ("float16", "weights"): Allowed(factor=3, least=5e-5, of_slice=1.5e-3),
}
"""(precision, what is rounded to it) → what passes. On the weights as stored and in float64 a right layer adds just
what the rounded weights cost; where all values are rounded two right orders of summation differ by about the cost."""


WEIGHTED = ("conv", "linear", "addmm")
"""How the names of operators begin that have weights."""

ANOTHER, NEARLY, FEWEST = 0.3, 0.8, 3
"""Another model: so much is added (other weights give 1.4), by such a share of the layers with weights, of so many."""

HALF = 0.5
"""Another model too: so many of the layers with weights give values of a size that no tensor of the file has."""

NAMED = 3
"""Places that a sentence names; the rest are counted."""


@dataclass(frozen=True)
class Layer:
    """One tensor of the artifact that has its counterpart in the model.

    `tensor` is its name in the file, `module` the path of the PyTorch module and `source` the line of its code
    ("models/shvit.py:92") that made it; both may be empty. `error` is the relative L2 distance from the model's tensor
    in float64, `inputs_error` the largest of the tensors that it was computed from, `added` and `cost` as above (each
    infinite where values are that should be finite). `excess` over 1 means that the error jumps here.
    """

    tensor: str
    operator: str
    module: str
    source: str
    shape: tuple[int, ...]
    error: float
    inputs_error: float
    added: float
    cost: float
    excess: float
    largest: float
    """The largest magnitude that the model would have here, on the artifact's inputs of this layer."""
    skipped: int = 0
    """Layers with weights between the compared tensors before it and it: their own tensors could not be joined."""

    @property
    def jumps(self) -> bool:
        return self.excess > 1

    @property
    def overflows(self) -> bool:
        """Rounding alone makes infinities or NaN of what is finite."""
        return np.isinf(self.cost)

    @property
    def place(self) -> str:
        """Module, operator, tensor and line, for people."""
        line = f", {self.source}" if self.source else ""
        return f"{self.module or 'the top of the model'} ({self.operator}, tensor {self.tensor!r}){line}"


def relative(ours: Array, expected: Array) -> float:
    """||ours - expected|| / ||expected||; infinite where only `expected` is finite."""
    with np.errstate(all="ignore"):
        scale = float(np.linalg.norm(expected))
        found = float(np.linalg.norm(ours - expected)) / (scale or 1.0)
    return found if np.isfinite(found) else np.inf


def excess(ours: Array, expected: Array, rounded: Array, allowed: Allowed) -> float:
    """How many times the largest error that passes was reached by `ours`, in the tensor or its worst slice.

    `expected` is the layer in float64, `rounded` the same in the artifact's precision, all of one shape. A value that
    is not finite is infinitely wrong, unless rounding alone makes it so as well.
    """
    if not np.isfinite(expected).all():
        return 0.0
    usable = np.isfinite(rounded)
    if not np.isfinite(ours[usable]).all():
        return np.inf
    if not usable.all():
        return 0.0
    error, cost, least = (ours - expected) ** 2, (rounded - expected) ** 2, allowed.least**2 * np.mean(expected**2)
    worst = _ratio(error.mean(), cost.mean(), least, allowed.factor)
    for axis in (axis for axis in range(error.ndim) if error.shape[axis] > 1):
        others = tuple(other for other in range(error.ndim) if other != axis)
        scatter = 1 + 3 / np.sqrt(error.size // error.shape[axis])  # the mean of a few values
        own = np.maximum(scatter**2 * least, allowed.of_slice**2 * np.mean(expected**2, axis=others))
        costs = np.maximum(cost.mean(axis=others), cost.mean())
        worst = max(worst, _ratio(error.mean(axis=others), costs, own, allowed.factor * scatter))
    return worst


def _ratio(
    error: Array | np.floating, cost: Array | np.floating, least: Array | np.floating | float, factor: float
) -> float:
    bound = np.maximum(factor**2 * cost, least)
    return float(np.sqrt(np.max(np.where(error > 0, error / np.maximum(bound, 1e-300), 0.0))))


def is_another(layers: Iterable[Layer]) -> bool:
    """Whether nearly all layers that have weights compute something else: no fault has a hand in so many places."""
    weighted = [layer.added > ANOTHER for layer in layers if layer.operator.startswith(WEIGHTED)]
    return len(weighted) >= FEWEST and sum(weighted) >= NEARLY * len(weighted)


def first_jump(layers: Iterable[Layer]) -> Layer | None:
    """The first layer, in the artifact's order, whose error jumps."""
    return next((layer for layer in layers if layer.jumps), None)


def _told(jump: Layer) -> str:
    if not jump.skipped:
        return (
            f"the error jumps at {jump.place}: from {jump.inputs_error:.1e} at its inputs to {jump.error:.1e}; "
            f"this layer alone adds {jump.added:.1e}, rounding would {jump.cost:.1e}"
        )
    return (
        f"the error jumps at {jump.place}, or in the {jump.skipped} before it that could not be compared: from "
        f"{jump.inputs_error:.1e} ahead of them to {jump.error:.1e}; they add {jump.added:.1e}, rounding would "
        f"{jump.cost:.1e}"
    )


def explain(layers: Sequence[Layer], strange: float = 0.0) -> str:
    """One sentence for people: the first jump and how many others there are, or what else the error comes from.

    `strange` is the share of the model's layers with weights whose size no tensor of the file has.
    """
    found = first_jump(layers)
    if strange >= HALF:
        return f"this looks like another model: of {strange:.0%} of the layers no tensor of the file has the size"
    if is_another(layers):
        return "this looks like another model, or other weights: nearly every layer computes something else"
    if found is not None:
        others = sum(layer.jumps for layer in layers) - 1
        return _told(found) + (f"; so it does at {others} more" if others else "")
    over = [layer for layer in layers if layer.overflows and np.isfinite(layer.largest)]
    if over:
        places = [f"{layer.place}, whose largest value is {layer.largest:.3g}" for layer in over[:NAMED]]
        more = f"; and at {len(over) - NAMED} more" if len(over) > NAMED else ""
        return f"rounding overflows at {'; at '.join(places)}{more}"
    worst = max(layers, key=lambda layer: layer.error, default=None)
    grown = f"rounding lets the error grow to {worst.error:.1e}, at {worst.place}" if worst else "nothing to compare"
    return f"no layer stands out among {len(layers)}: {grown}"
