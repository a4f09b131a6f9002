"""Does the saved artifact compute what the model computes? Every output in numbers, with a verdict and its reason.

`compare` takes the outputs of three runs of the same pictures (see `bounds.py`): the unfolded model in float64 and in
float32, and the artifact; and, for a lower precision, of a fourth: the model with its weights and activations rounded
to that precision. It knows arrays by name, and nothing of the library that made them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from .bounds import allowance_of, errors
from .diagnosis import diagnose
from .ranking import Ranking, ranking
from .verdict import KINDS, Finding, Runs, Tolerance, Verdict, judge, kind, samples

Outputs = Mapping[str, NDArray]
Runner = Callable[[dict[str, NDArray]], Outputs]
"""A model as validate/ sees it: named arrays in, named arrays out; the first axis counts the samples."""


@dataclass(frozen=True)
class OutputParity:
    """One output of the artifact beside the model's. Figures are None where they cannot be computed.

    `relative_l2`, `relative_peak`, `cosine` and `snr_db` are those of the worst sample: ||a - t|| / ||t||,
    max |a - t| / rms(t), the angle's cosine, and 20 log10(||t|| / ||a - t||) (None if equal). `floor` is the relative
    L2 error of float32 PyTorch in its worst sample, `bound` the one that sample `worst_sample` was held to.
    """

    name: str
    shape: tuple[int, ...]
    verdict: Verdict
    reason: str
    max_abs: float | None = None
    relative_l2: float | None = None
    relative_peak: float | None = None
    cosine: float | None = None
    snr_db: float | None = None
    floor: float | None = None
    bound: float | None = None
    worst_sample: int | None = None
    ranking: Ranking | None = None
    overlap: float | None = None
    """Of labels of tokens: the share of equal ones among the tokens that the model or the artifact kept."""


@dataclass(frozen=True)
class Parity:
    """The whole artifact beside the model: "failed" if any output failed, "passed" only if every output passed."""

    verdict: Verdict
    reason: str
    outputs: tuple[OutputParity, ...]
    precision: str
    samples: int
    inputs: str
    """What was fed, in words: "8 synthetic pictures, seed 0"."""


def predict(runner: Runner, inputs: Mapping[str, NDArray], *, batch: int | None = None) -> dict[str, NDArray]:
    """The outputs of `runner` for all samples of `inputs`, run `batch` samples at a time (None: all at once).

    Artifacts often have a fixed batch. The last batch is filled up by repeating its last sample, whose outputs are cut
    off again. An output that has no batch in front counts for every sample of its run.
    Raises a ValueError if the inputs disagree about the number of samples.
    """
    counts = {name: len(values) for name, values in inputs.items()}
    if len(set(counts.values())) != 1 or 0 in counts.values():
        raise ValueError(f"expected the same number of samples, at least 1, in every input; got {counts}")
    count = next(iter(counts.values()))
    size = batch or count
    parts: list[Outputs] = []
    for start in range(0, count, size):
        chosen = np.minimum(np.arange(start, start + size), count - 1)
        parts.append(runner({name: values[chosen] for name, values in inputs.items()}))
    return {name: np.concatenate([_rows(part[name], size) for part in parts])[:count] for name in parts[0]}


def _rows(values: NDArray, size: int) -> NDArray:
    """A row for each of the run's samples; one of an output without a batch has a dimension more, so that an artifact
    that lost the batch still differs in shape."""
    values = np.asarray(values)
    if values.ndim and len(values) in (1, size):
        return np.broadcast_to(values, (size, *values.shape[1:]))
    return np.broadcast_to(values, (size, 1, *values.shape))


def compare(
    truth: Outputs,
    reference: Outputs | None,
    artifact: Outputs,
    *,
    precision: str = "float32",
    precision_cost: Outputs | None = None,
    neighbours: Sequence[Outputs] = (),
    labels: Collection[str] = (),
    fixed: Collection[str] = (),
    tolerance: Tolerance | None = None,
    inputs: str = "",
) -> Parity:
    """The artifact's outputs beside the model's: `truth` in float64, `reference` in float32 (None: nobody ran it).

    Outputs are matched by name. `precision` is the artifact's; `precision_cost` holds the outputs of the model rounded
    to that precision (where it is missing, a wide default bound is used, and said); `tolerance` replaces the measured
    bounds. `labels` names the outputs that say what the model chose among its tokens, judged by the runs of the model
    under noise in `neighbours` (see `choices.py`), `fixed` those that are the same for every input.
    Raises a ValueError where the runs of the model do not fit together: other names or shapes, or a truth that is not
    float64.
    """
    allowance_of(precision)
    _check_model_runs(truth, reference, precision_cost)
    judge_by = partial(judge, precision=precision, tolerance=tolerance)

    def runs(name: str) -> Runs:
        near = tuple(run[name] for run in neighbours)
        cost = (precision_cost or {}).get(name)
        return Runs(truth[name], (reference or {}).get(name), artifact[name], cost, near, name in labels, name in fixed)

    outputs = [
        _output(name, runs(name), truth, judge_by)
        if name in artifact
        else OutputParity(name, values.shape, "failed", f"the artifact lacks this output; it has {_names(artifact)}")
        for name, values in truth.items()
    ]
    outputs += [
        OutputParity(name, values.shape, "failed", f"the model has no such output; it has {_names(truth)}")
        for name, values in artifact.items()
        if name not in truth
    ]
    count = max(len(values) if values.ndim else 1 for values in truth.values())
    return Parity(*_overall(outputs), tuple(outputs), precision, count, inputs)


def _check_model_runs(truth: Outputs, reference: Outputs | None, cost: Outputs | None) -> None:
    if not truth:
        raise ValueError("nothing to compare: the model has no outputs")
    for run, outputs in (("reference", reference), ("precision_cost", cost)):
        shapes = {name: values.shape for name, values in truth.items()}
        if outputs is not None and {name: values.shape for name, values in outputs.items()} != shapes:
            came = {name: values.shape for name, values in outputs.items()}
            raise ValueError(f"expected the outputs of the truth in {run}, {shapes}; got {came}")
    for name, values in truth.items():
        if values.dtype.kind not in KINDS:
            raise ValueError(f"cannot compare output {name!r} of dtype {values.dtype}; expected numbers or text")
        if kind(values) == "float" and values.dtype != np.float64:
            raise ValueError(f"expected the truth in float64, got {values.dtype} for output {name!r}")


def _output(name: str, runs: Runs, truths: Outputs, judge_by: Callable[[Runs], Finding]) -> OutputParity:
    """The figures of one output and the verdict on it; `truths` are all outputs of the model, for the diagnosis."""
    finding = judge_by(runs)
    if finding.fault or kind(runs.truth) != "float":
        return OutputParity(name, runs.artifact.shape, finding.verdict, finding.reason, overlap=finding.overlap)
    truth, artifact = samples(runs.truth), samples(runs.artifact)
    finite = np.isfinite(truth).all() and np.isfinite(artifact).all()
    ranks = ranking(truth, artifact, finding.allowed) if finite and runs.truth.ndim == 2 else None
    note = None
    if finding.verdict == "failed":
        note = diagnose(name, truths, runs.artifact)
    elif finding.verdict == "passed" and ranks:
        note = ranks.caveat(truth.shape[1])
    return OutputParity(
        name,
        runs.artifact.shape,
        finding.verdict,
        "; ".join(filter(None, (finding.reason, ranks.told() if ranks else None, note))),
        **_figures(truth, artifact),
        floor=finite_number(finding.floor),
        bound=finding.bound,
        worst_sample=finding.worst_sample,
        ranking=ranks,
    )


def _figures(truth: NDArray[np.float64], artifact: NDArray[np.float64]) -> dict[str, float | None]:
    error = errors(artifact, truth)
    l2 = float(error.l2.max())
    with np.errstate(all="ignore"):  # figures of a run with NaN or infinities, or of an output of zeros, are None
        lengths = np.linalg.norm(truth, axis=1) * np.linalg.norm(artifact, axis=1)
        cosine = np.min(np.sum(truth * artifact, axis=1) / lengths)
        snr = -20 * np.log10(l2)
        max_abs = np.abs(artifact - truth).max()
    numbers = {
        "max_abs": max_abs,
        "relative_l2": l2,
        "relative_peak": error.peak.max(),
        "cosine": cosine,
        "snr_db": snr,
    }
    return {name: finite_number(value) for name, value in numbers.items()}


def finite_number(value: float | np.floating | None) -> float | None:
    """A plain float, or None for what JSON cannot say."""
    return None if value is None or not np.isfinite(value) else float(value)


def _overall(outputs: list[OutputParity]) -> tuple[Verdict, str]:
    for verdict in ("failed", "not judged"):
        chosen = [output for output in outputs if output.verdict == verdict]
        if chosen:
            more = f" (and {len(chosen) - 1} more)" if len(chosen) > 1 else ""
            return verdict, f"{chosen[0].name}: {chosen[0].reason}{more}"
    return "passed", f"{len(outputs)} of {len(outputs)} outputs passed; {outputs[0].name}: {outputs[0].reason}"


def _names(outputs: Outputs) -> str:
    return ", ".join(outputs) or "none"
