"""Choices among tokens: what of an artifact's choice differs from the model's, and whether rounding explains it.

A network that drops, merges or groups tokens can give a label for each of them (0: dropped). A label is decided by
comparing scores, so a rounding moves it either not at all or altogether: no error bound fits it, and asking for
equality would blame the artifact for a tie. What explains a flip is a margin smaller than the error, and margins are
measured, whatever the method: the model is run again with noise of FACTOR times the precision's rounding on every value
(*neighbours*). **The rule**, for each output of labels:

1. A label is *settled* where the model in float64, in float32 and all neighbours agree: its margin exceeds the error.
   Fewer than half of them settled is no basis for a verdict.
2. The artifact has to agree on the settled labels. Some margins are small without a neighbour showing it, so as many
   labels may differ as FACTOR times the most in which one neighbour stands alone against all other runs.
3. All in all it may miss an overlap of 1 by FACTOR times what the worst neighbour misses.
4. Where many labels hang on rounding (in sorted rows, say, where each rank is some token's) one of them says nothing,
   but their number is a measurement: if every neighbour changes at least MANY and none EVEN times as many as another,
   then the artifact may change FACTOR times as many as the model does that is rounded to its precision (*cost*).

The overlap of two runs is the share of equal labels among the tokens that either of them kept; for kept against dropped
that is intersection over union (Jaccard).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FACTOR = 3.0
"""As in `bounds.py` for float16: how much more than one measured run another one may be off."""

LEAST_SETTLED = 0.5

MANY, EVEN = 300, 1.25


def overlap(ours: NDArray, theirs: NDArray) -> float:
    """The share of equal labels among the tokens that one side or the other kept (label not 0), 0 to 1."""
    counted = (ours != 0) | (theirs != 0)
    return float(np.sum((ours == theirs) & counted) / max(np.sum(counted), 1))


def settled(runs: Sequence[NDArray]) -> NDArray[np.bool_]:
    """Where all runs of the model have the same label."""
    return np.logical_and.reduce([run == runs[0] for run in runs])


def unexplained(runs: Sequence[NDArray]) -> int:
    """The most labels in which one run differs from all the others where those agree."""
    return max(int(np.sum(settled([*runs[:i], *runs[i + 1 :]]) & (run != runs[i - 1]))) for i, run in enumerate(runs))


def measured(truth: NDArray, neighbours: Sequence[NDArray], cost: NDArray) -> int | None:
    """How many labels rounding changes, by the run that is rounded, if that many are no accident."""
    moved = [int(np.sum(run != truth)) for run in (*neighbours, cost)]
    *near, own = moved
    return own if min(moved) >= MANY and max(near) <= EVEN * min(near) else None


def judge_choices(
    truth: NDArray, reference: NDArray, artifact: NDArray, neighbours: Sequence[NDArray], cost: NDArray | None = None
) -> tuple[Literal["passed", "failed", "not judged"], str, float]:
    """Verdict, reason and overlap of one output of labels; the runs of the model are in float64, float32, and noisy,
    and `cost` is rounded to the artifact's precision.

    Raises a ValueError without neighbours: nothing would be known of the margins.
    """
    if not neighbours:
        raise ValueError("expected runs of the model with noise beside the labels of the artifact; got none")
    runs = [truth, reference, *neighbours]
    share, sure = overlap(artifact, truth), settled(runs)
    wrong, allowed = int(np.sum(sure & (artifact != truth))), int(FACTOR * unexplained(runs))
    least = 1 - FACTOR * (1 - min(overlap(run, truth) for run in runs))
    told = f"overlap {share:.4f}; {wrong} of {sure.sum()} settled labels differ"
    if wrong > allowed:
        return "failed", f"{told}, and rounding explains {allowed}", share
    if share < least:
        return "failed", f"{told}, and the overlap should be at least {least:.4f}", share
    changed, rounding = int(np.sum(artifact != truth)), None if cost is None else measured(truth, neighbours, cost)
    if rounding is not None and changed > FACTOR * rounding:
        return "failed", f"{told}; it changes {changed} labels, and rounding alone {rounding}", share
    if sure.mean() < LEAST_SETTLED:
        return "not judged", f"rounding alone changes {np.sum(~sure)} of {sure.size} labels", share
    alone = "" if rounding is None else f", which alone changes {rounding} and here {changed}"
    return "passed", f"{told} ({allowed} may), {np.sum(~sure)} hang on rounding{alone}", share
