"""Fold a model without converting it, and keep the folded model as a file of torch's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .atomic import staging
from .job import Checks, Job, Source
from .pipeline import UsageError
from .program import Prepared, prepare
from .request import Request
from .stages import Stages
from .subject import Subject, subject


def fold_source(source: Source, *, announce: Callable[[str], None] = lambda stage: None) -> Prepared:
    """The model of `source`, captured and folded, as a program and an account of each rewrite.

    Raises UsageError for a model that cannot be loaded, and ValueError, each with one line, for one that can be but is
    not captured or folded.
    """
    stages = Stages(announce)
    job = Job(source, (), Request(), Checks(samples=1, seed=source.seed))
    with stages("load"):
        loaded = _loaded(job)
    return prepare(loaded, job, stages)


def _loaded(job: Job) -> Subject:
    try:
        return subject(job)
    except ValueError as error:
        raise UsageError(str(error)) from error


def save(prepared: Prepared, target: Path) -> None:
    """Write the folded program to `target`, whole or not at all; `torch.export.load` reads it.

    Raises NotWritten where the disk cannot take it.
    """
    import torch

    with staging(target) as (path,):
        torch.export.save(prepared.program, path)
