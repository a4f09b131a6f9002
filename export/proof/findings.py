"""Where a failed file goes wrong: in how its input is prepared, in its outputs, in a layer, or as another model's.

Asked in this order, since a wrong preparation makes every layer wrong, and a wrong order of classes none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch.export import ExportedProgram

from ...validate.diagnosis import diagnose
from ...validate.preparation import explain_preparation
from ..artifact import Artifact, NotRun
from ..saved.engines import Rounds
from ..subject import Subject, Values, answered, model_input
from .check import Check, Yardstick
from .locate import locate

SAMPLES = 2
"""So many samples are run for each mistake in the preparation that is tried."""


@dataclass(frozen=True)
class Finding:
    """Where it goes wrong, and how, as a clause."""

    stage: Literal["preprocessing", "output", "layer", "model"]
    what: str


def first_failed(checks: Sequence[Check]) -> int | None:
    """The place of the first failed check."""
    verdicts = ["" if isinstance(check.parity, NotRun) else check.parity.verdict for check in checks]
    return verdicts.index("failed") if "failed" in verdicts else None


def findings(made: Values, subject: Subject, ours: Yardstick, rounded: Values | None = None) -> tuple[Finding, ...]:
    """What explains the failed outputs `made`, by their looks: a wrong preparation, or what became of the outputs.

    `rounded` is what the model gives in the precision of the file, where that is another than float32.
    """
    prepared = _preprocessing(made, subject, ours, rounded)
    return (Finding("preprocessing", prepared),) if prepared else _outputs(made, ours)


def layer(
    artifact: Artifact, failed: Check, subject: Subject, program: ExportedProgram, feed: Values, rounds: Rounds
) -> tuple[Finding, ...]:
    """The layer at which the error of a failed check begins, if one stands out; or that it is another model's file."""
    assert not isinstance(failed.parity, NotRun)
    worst = next((output.worst_sample for output in failed.parity.outputs if output.verdict == "failed"), None)
    located = locate(artifact, subject, program, feed, rounds=rounds, sample=worst or 0)
    if located.another:
        return (Finding("model", located.reason),)
    return (Finding("layer", located.reason),) if located.layer is not None else ()


def _preprocessing(made: Values, subject: Subject, ours: Yardstick, rounded: Values | None) -> str | None:
    if subject.preprocessing is None:
        return None
    mean, std = subject.preprocessing.mean, subject.preprocessing.std
    batch = model_input(subject)[0][:SAMPLES]
    if batch.ndim != 4 or batch.shape[1] != len(mean):
        return None
    shape = (1, -1, 1, 1)
    pixels = batch.numpy().astype(np.float64) * np.reshape(std, shape) + np.reshape(mean, shape)
    return explain_preparation(
        lambda reaches: answered(subject, (torch.from_numpy(reaches.astype(np.float32)),)),
        pixels,
        mean,
        std,
        truth={name: values[:SAMPLES] for name, values in ours.truth.items()},
        artifact={name: values[:SAMPLES] for name, values in made.items()},
        rounded=None if rounded is None else {name: values[:SAMPLES] for name, values in rounded.items()},
    )


def _outputs(made: Values, ours: Yardstick) -> tuple[Finding, ...]:
    """What each output of a wrong shape or look says by itself."""
    clauses = [
        (name, diagnose(name, ours.truth, values))
        for name, values in made.items()
        if name in ours.truth and values.shape == ours.truth[name].shape and values.dtype.kind == "f"
    ]
    return tuple(Finding("output", f"{name}: {clause}") for name, clause in clauses if clause)
