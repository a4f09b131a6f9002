"""From a job whose float16 file fails to the operators that must stay in float32, confirmed on a converted file.

The plain float16 file is made and checked first: if it passes, nothing is to be found. Else the search runs on trials
(see `trials.py`), and what it finds is converted and checked like any file. A trial is not the file (coremltools may
fold another constant); where the file misses the bound that its trial met, the search is run again for a lower one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ...validate.parity import finite_number
from ..artifact import Artifact, NotRun
from ..job import Job
from ..lowering.legalize import legalized
from ..program import Prepared
from ..proof.check import Check, check, explained, laid_out, tolerance, yardstick
from ..request import Request
from ..subject import Subject, truth
from .causes import Range, ranges
from .plan import SCHEMA, Kept, Plan, graph_id
from .search import Found, smallest
from .trials import Bench, bench

Convert = Callable[[Request], Artifact]
"""Makes the Core ML file for a request, in the place of the one before."""

GOALS = (0.9, 0.5, 0.25)
"""What a trial must reach, in units of the bound, at the first, second and third attempt."""


def find_precision(
    job: Job, subject: Subject, prepared: Prepared, folder: Path, convert: Convert
) -> tuple[Plan, Artifact | None]:
    """The smallest set of operators to keep in float32 so that the Core ML file of `job` passes its check, and the file
    that it was confirmed on, which `convert` made last.

    Trials work in `folder`, which must exist. An empty set, with the reason, where plain float16 passes; the same
    without a file where float32 throughout would not. Raises NotConverted where there is no Core ML file at all.
    """
    attempt = _Attempt(job, subject, prepared, convert)
    plain, checks = attempt.file(())
    if not _failed(checks):
        reason = "plain float16 passes its check: nothing to keep in float32"
        return attempt.plan((), None, plain, plain, 0, reason), plain
    answers = truth(subject)
    made = bench(
        prepared.program, subject, laid_out(plain, subject.feed), answers, job.request, folder, tolerance(job.checks)
    )
    trials = 0
    for goal in GOALS:
        found = _search(made, goal)
        trials += found.trials if found else 1
        if found is None:
            break
        kept = _kept(made, found)
        artifact, checks = attempt.file([one.name for one in kept])
        if not _failed(checks):
            reason = "found by trials, confirmed on the file"
            return attempt.plan(kept, found.excess, artifact, plain, trials, reason), artifact
    reason = f"nothing was found to keep in float32: {_why_nothing(made, _failed(checks))}"
    return attempt.plan((), made.excess(()), plain, plain, trials, reason), None


def _why_nothing(made: Bench, last: str) -> str:
    excess = made.excess(())
    if excess <= GOALS[-1]:
        return f"what trials found fails on the file: {last}"
    ends = {tensor.dtype for tensor in (*made.artifact.inputs, *made.artifact.outputs)}
    narrow = "; its inputs and outputs are float16 from iOS16 on" if "float16" in ends else ""
    return (
        f"with every operator in float32 the error would still be {excess:.2g} x the bound{narrow}; ask for "
        "--precision float32"
    )


class _Attempt:
    """Makes and checks files of one job, and writes down what came of them."""

    def __init__(self, job: Job, subject: Subject, prepared: Prepared, convert: Convert) -> None:
        self._job, self._subject, self._prepared, self._convert = job, subject, prepared, convert

    def file(self, kept: Sequence[str]) -> tuple[Artifact, tuple[Check, ...]]:
        subject, program = self._subject, self._prepared.program
        artifact = self._convert(replace(self._job.request, float32=tuple(kept)))
        prepared, mixed = self._prepared, (program, tuple(kept))
        ours = yardstick(subject, prepared.folded, prepared.captured, {artifact.precision}, mixed)
        return artifact, explained(check(artifact, subject, ours, self._job.checks), artifact, subject, program)

    def plan(
        self, kept: Sequence[Kept], excess: float | None, made: Artifact, plain: Artifact, trials: int, reason: str
    ) -> Plan:
        legal = legalized(self._prepared.program)
        return Plan(
            schema=SCHEMA,
            variant=self._subject.loaded.variant.name,
            graph=graph_id(legal),
            float32=tuple(kept),
            operators=sum(node.op == "call_function" for node in legal.graph.nodes),
            excess=finite_number(excess),
            extra_bytes=made.bytes - plain.bytes,
            trials=trials,
            reason=reason,
        )


def _search(made: Bench, goal: float) -> Found | None:
    """Acceptance is tried on every sample, the worst one first; the ranking on that one alone."""
    count, samples = len(made.operators), len(next(iter(made.feed.values())))
    by_sample = [made.excess(range(count), slice(row, row + 1)) for row in range(samples)]
    order = sorted(range(samples), key=lambda row: -by_sample[row])

    def worst(narrow: frozenset[int]) -> float:
        return made.excess(narrow, slice(order[0], order[0] + 1)) / goal

    def whole(narrow: frozenset[int]) -> float:
        found = 0.0
        for row in order:
            found = max(found, made.excess(narrow, slice(row, row + 1)) / goal)
            if found > 1:
                break
        return found

    return smallest(count, whole, alone=worst)


def _kept(made: Bench, found: Found) -> tuple[Kept, ...]:
    seen = ranges(made)
    return tuple(
        _described(made, number, seen[made.operators[number].name], made.excess((number,))) for number in found.spared
    )


def _described(made: Bench, number: int, seen: Range, alone: float) -> Kept:
    operator = made.operators[number]
    return Kept(
        name=operator.name,
        operator=operator.operator,
        module=operator.module,
        source=operator.source,
        cause=seen.kind,
        told=seen.told(),
        largest=seen.largest,
        alone=finite_number(alone),
    )


def _failed(checks: Sequence[Check]) -> str:
    """The reason of the first failed check; empty if none failed."""
    failed = [one for one in checks if not isinstance(one.parity, NotRun) and one.parity.verdict == "failed"]
    return failed[0].parity.reason if failed else ""
