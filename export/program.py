"""From a model to the program that the formats convert: captured once, folded, captured again as what is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule
from torch.utils._pytree import tree_leaves

from ..reparam import RULES, CaptureError, Folded, capture, fold
from ..reparam.not_captured import require_fixed_sizes, require_repeatable
from .artifact import BATCH
from .job import Job
from .quiet import quiet
from .stages import Stages
from .subject import Subject, arguments, captured_form


@dataclass(frozen=True)
class Prepared:
    """The folded model as a program, the account of its folding, and what was captured before it."""

    program: ExportedProgram
    folded: Folded
    captured: GraphModule


def prepare(
    subject: Subject, job: Job, stages: Stages, *, keep: Callable[[Tensor], Tensor] = lambda weight: weight
) -> Prepared:
    """Capture and fold the subject; `keep` is that of `fold`. Raises CaptureError or FoldError."""
    example, named = arguments(subject.loaded, _example(subject, job))
    shapes = _dynamic_shapes(job, len(example), tuple(named))
    with stages("capture"), quiet("torch"):
        captured = capture(captured_form(subject), example, named, dynamic_shapes=shapes)
        require_fixed_sizes(subject.loaded.module, captured)
        require_repeatable(subject.loaded.module, captured)
        if shapes is not None:
            _require_batches(captured, subject.output_names)
    with stages("fold"):
        folded = fold(captured, RULES, keep=keep)
    with stages("capture the folded model"):
        program = torch.export.export(folded.module, example, named, dynamic_shapes=shapes, strict=False)
    return Prepared(program, folded, captured)


def _require_batches(captured: GraphModule, names: Sequence[str]) -> None:
    """Raise CaptureError for an output that an open batch does not reach: each sample could not be told in it."""
    given, (output,) = captured.graph.find_nodes(op="placeholder"), captured.graph.find_nodes(op="output")
    batch = str(given[0].meta["val"].shape[0])
    for name, node in zip(names, tree_leaves(output.args), strict=True):
        shape = tuple(map(str, node.meta["val"].shape))
        if shape[:1] != (batch,):
            told = ", ".join(BATCH if size == batch else size for size in shape)
            raise CaptureError(
                f"--dynamic-batch: the output {name} ({told}) does not have the batch as its first dimension, so a "
                "sample's part of it is not known; give it a batch, leave it out of what the model gives, or leave "
                "--dynamic-batch out"
            )


def _example(subject: Subject, job: Job) -> tuple[Tensor, ...]:
    """Inputs of the right shapes; an open batch is traced with two, since one would be taken as fixed."""
    batch = job.batch if job.request.batch is None else 2
    return tuple(torch.zeros(batch, *one.shape, dtype=getattr(torch, one.dtype)) for one in subject.loaded.inputs)


def _dynamic_shapes(job: Job, positional: int, named: tuple[str, ...]) -> Any:
    """torch.export's: the one open batch in front of every input."""
    if job.request.batch is None:
        return None
    batch = {0: Dim(BATCH, min=job.request.batch.lower, max=job.request.batch.upper)}
    by_place = (batch,) * positional
    return by_place if not named else (*by_place, *(batch,) * len(named))
