"""The verdict on one output of an artifact, with a sentence that says which bound held or broke, and why that bound.

Three answers: "passed", "failed", and "not judged" where the comparison could not have told right from wrong:

- the model's own float32 run, or the truth, is not finite;
- float32 rounding alone moves the output by more than ILL_CONDITIONED, on more than half of the samples;
- an artifact that ignores its input (it returns the mean output) would have passed as well.

A wrong shape, a wrong kind of number and a NaN fail before any bound is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .bounds import Bounds, Errors, Norm, bounds, errors, scales
from .choices import FACTOR, judge_choices

Verdict = Literal["passed", "failed", "not judged"]

ILL_CONDITIONED = 1e-2
"""A sample on which float32 itself is off by more than this (l2) is not judged: any answer would be as good."""

KINDS = {"f": "float", "i": "whole", "u": "whole", "b": "bool", "U": "text", "S": "text", "O": "text"}
"""Kind of a numpy dtype → what must agree. Widths may differ: a float16 output is compared with a float64 truth."""


@dataclass(frozen=True)
class Tolerance:
    """The caller's own bound in place of the measured one: |artifact - truth| <= atol + rtol x |truth|, everywhere."""

    atol: float = 0.0
    rtol: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("atol", self.atol), ("rtol", self.rtol)):
            if not 0 <= value < np.inf:
                raise ValueError(f"{name} must be a finite number of 0 or more, got {value}")


@dataclass(frozen=True)
class Runs:
    """One output of the model in float64, in float32, of the artifact, and (or None) of the model rounded to the
    artifact's precision. The first axis counts the samples. `reference` is None where the truth was stored before."""

    truth: NDArray
    reference: NDArray | None
    artifact: NDArray
    cost: NDArray | None = None
    neighbours: tuple[NDArray, ...] = ()
    """The model under noise of `choices.FACTOR` times the precision's rounding, where it chooses among tokens."""
    labels: bool = False
    """Whether the values are labels of tokens, judged by `choices.py`."""
    fixed: bool = False
    """Whether the output is the same for every input, by the model's graph (a table of anchors, say)."""


@dataclass(frozen=True)
class Finding:
    """The verdict, its reason, and the numbers it rests on; (N,) bounds are None where no bound was reached."""

    verdict: Verdict
    reason: str
    floor: float | None = None
    bound: float | None = None
    worst_sample: int | None = None
    allowed: NDArray[np.float64] | None = None
    """The largest error of each element that passes, in the output's units; broadcasts to (N, size)."""
    overlap: float | None = None
    """Of labels of tokens with the model's, 0 to 1."""
    fault: bool = False
    """The arrays could not be laid side by side, so there are no figures."""


def judge(runs: Runs, precision: str, tolerance: Tolerance | None) -> Finding:
    """The verdict on one output. Raises a ValueError for a precision without bounds."""
    truth, artifact = runs.truth, runs.artifact
    if artifact.shape != truth.shape:
        return Finding("failed", f"expected shape {truth.shape}, got {artifact.shape}", fault=True)
    expected, got = kind(truth), kind(artifact)
    if expected != got:
        return Finding("failed", f"expected {expected} values, got {got} ({artifact.dtype})", fault=True)
    if not truth.size:
        return Finding("not judged", "the output is empty", fault=True)
    if runs.labels:
        reference = truth if runs.reference is None else runs.reference
        verdict, reason, share = judge_choices(truth, reference, artifact, runs.neighbours, runs.cost)
        return Finding(verdict, reason, overlap=share)
    return _judge_floats(runs, precision, tolerance) if expected == "float" else _judge_exact(runs)


def kind(values: NDArray) -> str:
    """float, whole, bool or text; for anything else the name of the dtype, which agrees with none of them."""
    return KINDS.get(values.dtype.kind, str(values.dtype))


def samples(values: NDArray) -> NDArray[np.float64]:
    """Any float output as (N, size); a scalar is one sample of one value."""
    return values.astype(np.float64).reshape(values.shape[0] if values.ndim else 1, -1)


def _judge_exact(runs: Runs) -> Finding:
    """Labels, indices and masks: equal wherever the model itself is settled about them."""
    settled = np.ones(runs.truth.shape, bool) if runs.reference is None else runs.truth == runs.reference
    if runs.cost is not None:
        settled &= runs.truth == runs.cost
    wrong = settled & (runs.artifact != runs.truth)
    if wrong.any():
        return Finding("failed", f"{np.sum(wrong)} of {np.sum(settled)} values differ")
    if np.mean(settled) < 0.5:
        return Finding("not judged", f"rounding alone changes {np.sum(~settled)} of {settled.size} values")
    undecided = f"; {np.sum(~settled)} that rounding alone changes are left out" if not settled.all() else ""
    return Finding("passed", f"all {np.sum(settled)} values are equal{undecided}")


def _judge_floats(runs: Runs, precision: str, tolerance: Tolerance | None) -> Finding:
    truth, artifact = samples(runs.truth), samples(runs.artifact)
    reference = truth if runs.reference is None else samples(runs.reference)
    broken = np.isfinite(truth) & ~np.isfinite(artifact)
    if broken.any():
        return Finding("failed", f"{np.sum(broken)} of {truth.size} values are NaN or infinite")
    unusable = np.sum(~(np.isfinite(truth) & np.isfinite(reference)))
    if unusable:
        return Finding("not judged", f"{unusable} of {truth.size} values of the PyTorch model are NaN or infinite")
    floor = errors(reference, truth)
    if tolerance is not None:
        return _judge_tolerance(truth, artifact, floor, tolerance)
    bound = bounds(precision, truth.shape[1], floor, _cost(runs, truth), floor_known=runs.reference is not None)
    return _judge_bounds(truth, artifact, floor, bound, fixed=runs.fixed)


def _cost(runs: Runs, truth: NDArray[np.float64]) -> Errors | None:
    """The errors of the rounded model; where it chooses, of the worst of its runs, since a choice flips in some.

    The noise of the neighbours is FACTOR times the rounding already, by which the bound multiplies.
    """
    if runs.cost is None:
        return None
    own, near = errors(samples(runs.cost), truth), [errors(samples(run), truth) for run in runs.neighbours]
    l2 = np.max([own.l2, *(error.l2 / FACTOR for error in near)], axis=0)
    return Errors(l2, np.max([own.peak, *(error.peak / FACTOR for error in near)], axis=0))


def _judge_tolerance(
    truth: NDArray[np.float64], artifact: NDArray[np.float64], floor: Errors, tolerance: Tolerance
) -> Finding:
    difference, allowed = np.abs(artifact - truth), tolerance.atol + tolerance.rtol * np.abs(truth)
    sample, element = np.unravel_index(np.argmax(difference - allowed), truth.shape)
    worst = f"{difference[sample, element]:.2e} where {allowed[sample, element]:.2e} is allowed"
    given = f"given tolerance atol {tolerance.atol:g}, rtol {tolerance.rtol:g}"
    wrong = int(np.sum(difference > allowed))
    reason = f"{wrong} of {truth.size} values exceed the {given}" if wrong else f"within the {given}"
    verdict: Verdict = "failed" if wrong else "passed"
    rough = float(floor.l2.max())
    shaky = f"; float32 PyTorch itself is off by {rough:.1e} from float64" if rough > ILL_CONDITIONED else ""
    return Finding(verdict, f"{reason}; worst {worst}{shaky}", rough, None, int(sample), allowed)


def _judge_bounds(
    truth: NDArray[np.float64], artifact: NDArray[np.float64], floor: Errors, bound: Bounds, *, fixed: bool
) -> Finding:
    judged = floor.l2 <= ILL_CONDITIONED
    error = errors(artifact, truth)
    excess = np.where(judged, np.maximum(error.l2 / bound.l2, error.peak / bound.peak), -np.inf)
    worst = int(np.argmax(excess))
    allowed = bound.peak[:, None] * scales(truth)[:, None]
    rest = float(floor.l2.max()), float(bound.l2[worst]), worst, allowed
    if excess[worst] > 1:
        return Finding("failed", _sentence(error, bound, worst, "exceeds"), *rest)
    refusal = _refusal(truth, floor, bound, judged, fixed=fixed)
    if refusal:
        return Finding("not judged", refusal, *rest)
    skipped = (
        f"; {np.sum(~judged)} of {len(judged)} samples are ill-conditioned and not judged" if not judged.all() else ""
    )
    skipped += "; it is the same for every input" if fixed else ""
    return Finding("passed", _sentence(error, bound, worst, "is within") + skipped, *rest)


def _refusal(
    truth: NDArray[np.float64], floor: Errors, bound: Bounds, judged: NDArray[np.bool_], *, fixed: bool
) -> str | None:
    """Why an output that broke no bound cannot be said to be right; None if it can."""
    if np.mean(judged) < 0.5:
        return (
            f"the model is ill-conditioned on these inputs: float32 PyTorch is off by {floor.l2.max():.1e} from "
            f"float64 (judged up to {ILL_CONDITIONED:g}), so no artifact can be held to it"
        )
    if not truth.any():
        return "the output is zero for every sample, so nothing can be compared"
    blind = errors(np.broadcast_to(truth.mean(axis=0), truth.shape), truth)
    passes = (blind.l2 <= bound.l2) & (blind.peak <= bound.peak)
    if len(truth) > 1 and passes[judged].all() and not fixed:
        return (
            f"the output hardly depends on the input (it varies by {blind.l2.max():.1e} between samples), "
            f"so an artifact that ignores its input would pass the bound of {bound.l2.max():.1e} as well"
        )
    return None


def _sentence(error: Errors, bound: Bounds, sample: int, verb: str) -> str:
    l2, peak = (error.l2[sample], bound.l2[sample]), (error.peak[sample], bound.peak[sample])
    norm: Norm = "l2" if l2[0] / l2[1] >= peak[0] / peak[1] else "peak"
    name, (value, limit) = ("relative L2 error", l2) if norm == "l2" else ("largest error over rms", peak)
    place = f"in sample {sample}, the worst of {len(error.l2)}" if len(error.l2) > 1 else "in the only sample"
    return f"{name} {value:.1e} {verb} {limit:.1e} {place} ({bound.why(sample, norm)})"
