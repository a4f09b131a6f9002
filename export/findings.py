"""Where a failed file goes wrong: in how its input is prepared, in its outputs, or in a layer.

Asked in this order, since a wrong preparation makes every layer wrong, and a wrong order of classes none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ..validate.diagnosis import diagnose
from ..validate.preparation import explain_preparation
from .artifact import Artifact, NotRun
from .check import Check, Yardstick
from .subject import Subject, Values, answers, model_input

SAMPLES = 2
"""So many samples are run for each mistake in the preparation that is tried."""


@dataclass(frozen=True)
class Finding:
    """Where it goes wrong, and how, as a clause."""

    stage: Literal["preprocessing", "output", "layer"]
    what: str


def findings(
    artifact: Artifact,
    checks: Sequence[Check],
    runs: Sequence[Values | NotRun],
    subject: Subject,
    ours: Yardstick,
) -> tuple[Finding, ...]:
    """What explains the first failed check; nothing where none failed."""
    for check, made in zip(checks, runs, strict=True):
        if not isinstance(check.parity, NotRun) and not isinstance(made, NotRun) and check.parity.verdict == "failed":
            prepared = _preprocessing(made, subject, ours)
            return (Finding("preprocessing", prepared),) if prepared else _outputs(made, ours)
    return ()


def _preprocessing(made: Values, subject: Subject, ours: Yardstick) -> str | None:
    mean, std = subject.preprocessing.mean, subject.preprocessing.std
    batch = model_input(subject)[:SAMPLES]
    if batch.ndim != 4 or batch.shape[1] != len(mean):
        return None
    shape = (1, -1, 1, 1)
    pixels = batch.numpy().astype(np.float64) * np.reshape(std, shape) + np.reshape(mean, shape)
    return explain_preparation(
        lambda reaches: _answers(subject, reaches),
        pixels,
        mean,
        std,
        truth={name: values[:SAMPLES] for name, values in ours.truth.items()},
        artifact={name: values[:SAMPLES] for name, values in made.items()},
    )


def _answers(subject: Subject, reaches: NDArray[np.float64]) -> Values:
    found = answers(subject.loaded.module, torch.from_numpy(reaches.astype(np.float32)))
    return dict(zip(subject.output_names, found, strict=True))


def _outputs(made: Values, ours: Yardstick) -> tuple[Finding, ...]:
    """What each output of a wrong shape or look says by itself."""
    clauses = [
        (name, diagnose(name, ours.truth, values))
        for name, values in made.items()
        if name in ours.truth and values.shape == ours.truth[name].shape and values.dtype.kind == "f"
    ]
    return tuple(Finding("output", f"{name}: {clause}") for name, clause in clauses if clause)
