"""Do the artifact's class scores rank the classes as the model's do, and if not, could rounding have done it?

A best class that changes is no news when two classes were closer together than the error that is allowed: both orders
are right. It counts only if the model's margin between the two is more than the errors that pass for the two scores,
added up.

For the same reason two classes that lie closer together than that, in every sample, could be exchanged and nobody would
see it. Such pairs are counted: they are what a passed verdict does not cover.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Ranking:
    """How often the artifact ranks the classes as the model does, for an output of class scores (N, classes)."""

    samples: int
    """N."""
    top1: float
    """Share of the samples with the same best class."""
    top5: float | None
    """Mean share of the model's five best classes that are among the artifact's five best; None up to five classes."""
    flips: int
    """Samples whose best class changed."""
    unexplained_flips: int | None
    """Flips between classes too far apart in the model for the allowed errors to bridge; None without a bound."""
    indistinct_pairs: int | None
    """Pairs of classes that could be exchanged without leaving the bound; None without a bound."""

    def told(self) -> str | None:
        """The flips and how many of them rounding cannot have made, as a clause; None for no flips without a bound."""
        if not self.flips:
            return None if self.unexplained_flips is None else f"0 unexplained flips of {self.samples}"
        judged = (
            "" if self.unexplained_flips is None else f", {self.unexplained_flips} of these unexplained by the bound"
        )
        return f"the best class changes in {self.flips} of {self.samples} samples{judged}"

    def caveat(self, classes: int) -> str | None:
        """What agreement within the bound leaves open, as a clause; None if nothing."""
        if not self.indistinct_pairs:
            return None
        return f"{self.indistinct_pairs} of {comb(classes, 2)} pairs of classes lie too close together to tell apart"


def ranking(
    truth: NDArray[np.float64], artifact: NDArray[np.float64], allowed: NDArray[np.float64] | None = None
) -> Ranking:
    """`truth` and `artifact` (N, classes), finite; `allowed` is the largest error of each score, broadcast to them."""
    rows = np.arange(len(truth))
    best, came = truth.argmax(axis=1), artifact.argmax(axis=1)
    flipped = best != came
    unexplained = pairs = None
    if allowed is not None:
        limit = np.broadcast_to(allowed, truth.shape)
        margin = truth[rows, best] - truth[rows, came]
        unexplained = int(np.sum(flipped & (margin > limit[rows, best] + limit[rows, came])))
        pairs = indistinct_pairs(truth, limit)
    top5 = _shared(truth, artifact, 5) if truth.shape[1] > 5 else None
    return Ranking(len(truth), float(np.mean(~flipped)), top5, int(np.sum(flipped)), unexplained, pairs)


def indistinct_pairs(truth: NDArray[np.float64], allowed: NDArray[np.float64]) -> int:
    """Pairs of classes of `truth` (N, classes) that differ by no more than `allowed` (same shape) in every sample.

    Classes are sorted by the sample that spreads them most, so only neighbours need a look.
    """
    pilot = int(np.argmax(np.ptp(truth, axis=1) / np.maximum(allowed.max(axis=1), 1e-300)))
    order = np.argsort(truth[pilot])
    values, limit = truth[:, order], allowed[:, order]
    reach, count = limit[pilot].max(), 0
    for shift in range(1, values.shape[1]):
        gap = np.abs(values[:, shift:] - values[:, :-shift])
        if gap[pilot].min() > reach:
            break
        count += int(np.sum(np.all(gap <= np.minimum(limit[:, shift:], limit[:, :-shift]), axis=0)))
    return count


def _shared(truth: NDArray[np.float64], artifact: NDArray[np.float64], k: int) -> float:
    """Mean share of the k best of each row of `truth` that are among the k best of `artifact`."""
    expected, came = (np.argpartition(values, -k, axis=1)[:, -k:] for values in (truth, artifact))
    return float(np.mean([np.isin(expected[i], came[i]).mean() for i in range(len(truth))]))
