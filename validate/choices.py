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


def judge_choices(
    truth: NDArray, reference: NDArray, artifact: NDArray, neighbours: Sequence[NDArray]
) -> tuple[Literal["passed", "failed", "not judged"], str, float]:
    """Verdict, reason and overlap of one output of labels; the runs of the model are in float64, float32, and noisy.

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
    if sure.mean() < LEAST_SETTLED:
        return "not judged", f"rounding alone changes {np.sum(~sure)} of {sure.size} labels", share
    return "passed", f"{told} ({allowed} may), {np.sum(~sure)} hang on rounding", share
