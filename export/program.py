"""From a model to the program that the formats convert: captured once, folded, captured again as what is left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from ..reparam import RULES, Folded, capture, fold
from .artifact import BATCH
from .job import Job
from .stages import Stages
from .subject import Subject, captured_form


@dataclass(frozen=True)
class Prepared:
    """The folded model as a program, and the account of its folding."""

    program: ExportedProgram
    folded: Folded


def prepare(subject: Subject, job: Job, stages: Stages) -> Prepared:
    """Capture and fold the subject. Raises CaptureError or FoldError."""
    example = (_example(subject, job),)
    shapes = _dynamic_shapes(job)
    with stages("capture"):
        captured = capture(captured_form(subject), example, dynamic_shapes=shapes)
    with stages("fold"):
        folded = fold(captured, RULES)
    with stages("capture the folded model"):
        program = torch.export.export(folded.module, example, dynamic_shapes=shapes, strict=False)
    return Prepared(program, folded)


def _example(subject: Subject, job: Job) -> Tensor:
    """An input of the right shape; an open batch is traced with two, since one would be taken as fixed."""
    batch = job.batch_size if job.request.batch is None else 2
    return torch.zeros(batch, job.source.in_chans, *subject.preprocessing.sides)


def _dynamic_shapes(job: Job) -> Any:
    if job.request.batch is None:
        return None
    return ({0: Dim(BATCH, min=job.request.batch.lower, max=job.request.batch.upper)},)
