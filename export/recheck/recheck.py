"""Check files again: any .onnx or .mlpackage, against the model that it should be, on inputs of the user's choice.

The same comparison as at export: the model in float64 is the truth, in float32 the floor, rounded to the file's
precision the cost; the file is opened from the disk and run on every engine of its format. What differs is that nothing
is known of the file but what it says itself, so its inputs and outputs are joined to the model's first (`mapping.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from ...reparam.not_captured import CaptureError, UnrepeatableError, unrepeatable
from ...validate.parity import compare, predict
from ..artifact import Artifact, NotRun, in_one_line
from ..formats.to_coreml import NAME as COREML
from ..job import Job
from ..program import Prepared, prepare
from ..proof.check import Check, Yardstick, graph_explained, judged, run_of, with_constants, yardstick
from ..proof.costs import Costs
from ..proof.findings import Finding, findings, first_failed, layer
from ..proof.forced import Rounds
from ..proof.same_constants import kept_wide
from ..report import Outcome, outcome_of
from ..saved.engines import Engine, engines
from ..saved.opened import compressed
from ..stages import Stage, Stages
from ..subject import Subject, Values, fed, repeats, subject, subject_of, truth
from .drift import Watched
from .mapping import RANGES, Bridge, bridge, renamed
from .stored import Stored, feed_of, read_stored
from .targets import Asked, Target, batch_of, by_model, target

SCHEMA = "fuseport.check/1"


@dataclass(frozen=True)
class FileCheck:
    """One file: how it compares on each engine, what of it is to be said, and where a failure comes from."""

    artifact: Artifact
    against: str
    checks: tuple[Check, ...]
    notes: tuple[str, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class CheckReport:
    """The checks of some files. "passed" only if each of them was judged, and none failed."""

    schema: str
    fuseport: str
    outcome: Outcome
    reason: str
    results: tuple[FileCheck, ...]
    stages: tuple[Stage, ...]
    versions: dict[str, str]
    watched: Watched | None = None
    """What has changed since the baseline, if there is one."""


def recheck(asked: Asked, *, announce: Callable[[str], None] = lambda stage: None) -> CheckReport:
    """Check all of `asked.artifacts`. Raises ValueError with one line for what cannot be used, before any check."""
    stages = Stages(announce)
    stored = read_stored(asked.inputs) if isinstance(asked.inputs, Path) else asked.inputs
    targets = [target(path, asked, stored) for path in asked.artifacts]
    results = tuple(result for group in by_model(targets) for result in _group(group, asked, stored, stages))
    results = tuple(sorted(results, key=lambda result: asked.artifacts.index(result.artifact.path)))
    outcome, reason = outcome_of(results, require_parity=False)
    return CheckReport(
        SCHEMA,
        version("fuseport"),
        outcome,
        reason,
        results,
        tuple(stages.done),
        {"torch": version("torch")}
        | {name: number for result in results for name, number in result.artifact.versions.items()},
    )


def _group(targets: list[Target], asked: Asked, stored: Stored | None, stages: Stages) -> Iterator[FileCheck]:
    job = targets[0].job
    if job is None:
        assert stored is not None
        yield from (_against_stored(one, asked, stored, stages) for one in targets)
        return
    with stages(f"load {job.source.variant}"):
        loaded = subject(job) if asked.loaded is None else subject_of(asked.loaded, job)
    for one in targets:
        one.against.require(loaded.loaded.weights)
    bridges = [bridge(one.artifact, loaded.feed, asked.input_map, RANGES[asked.input_range]) for one in targets]
    if stored is not None:
        joined = {name: wire.feed for name, wire in bridges[0].wires.items()}
        loaded = fed(loaded, feed_of(stored, joined, loaded.feed), f"the inputs of {stored.path.name}")
    model = measured(loaded, job, [one.artifact for one in targets], stages)
    for one, way in zip(targets, bridges, strict=True):
        with stages(f"check {one.artifact.path.name}"):
            yield check_file(one, way, model, asked)


@dataclass(frozen=True)
class Measured:
    """The model, what it answers, and its folded form; or why torch.export cannot take it, which other routes can."""

    subject: Subject
    ours: Yardstick
    prepared: Prepared | NotRun

    @property
    def remarks(self) -> tuple[str, ...]:
        if isinstance(self.prepared, Prepared):
            return ()
        return (f"no cost of float16 is measured, and no layer named: {self.prepared.reason}",)


def measured(
    loaded: Subject, job: Job, artifacts: Sequence[Artifact], stages: Stages, prepared: Prepared | None = None
) -> Measured:
    """The model run in all ways that checks of `artifacts` call for; `prepared` where it is folded already.

    Raises UnrepeatableError for a model that draws random numbers.
    """
    try:
        prepared = prepared or prepare(loaded, job, stages)
    except UnrepeatableError:
        raise
    except CaptureError as error:
        if not repeats(loaded):
            raise unrepeatable(loaded.loaded.module) from error
        bare = Yardstick(truth(loaded), loaded.reference, Costs({}), {})
        return Measured(loaded, bare, NotRun(str(error).partition("\n")[0]))
    with stages("run the model for comparison"):
        precisions = {artifact.precision for artifact in artifacts}
        return Measured(loaded, yardstick(loaded, prepared.folded, prepared.captured, precisions), prepared)


def check_file(target: Target, way: Bridge, model: Measured, asked: Asked) -> FileCheck:
    """The file on every engine of its format, beside the model, with what explains a failure."""
    artifact, loaded = target.artifact, model.subject.loaded
    feed = way.feed(model.subject.feed)
    model, remarks = _sharpened(artifact, model, asked)
    runs = [(engine, _run(engine, artifact, feed, model.ours.truth, asked)) for engine in engines(artifact)]
    checks = tuple(_compared(engine, made, artifact, model, asked) for engine, made in runs)
    if isinstance(model.prepared, Prepared):
        program = model.prepared.program
        checks = tuple(graph_explained(made, artifact, feed, model.subject, program) for made in checks)
    failed = first_failed(checks)
    made = None if failed is None else runs[failed][1]
    found: tuple[Finding, ...] = ()
    if failed is not None and made is not None and not isinstance(made, NotRun):
        found = _found(artifact, checks[failed], made, model, feed, runs[failed][0].rounds)
    return FileCheck(
        artifact,
        f"{loaded.variant.name}, weights: {loaded.weights.describe()}",
        checks,
        (*target.against.notes(artifact), *_remarks(artifact), *remarks, *model.remarks),
        found,
    )


def _sharpened(artifact: Artifact, model: Measured, asked: Asked) -> tuple[Measured, tuple[str, ...]]:
    """The model with the constants that a float16 package stores, so that its graph is judged by itself; or why not."""
    judged = artifact.format == COREML and artifact.precision == "float16" and asked.limit(artifact) is None
    if not judged or not isinstance(model.prepared, Prepared):
        return model, ()
    kept = kept_wide(artifact, model.prepared.program)
    if isinstance(kept, NotRun):
        return model, (f"its graph is not judged apart from float16: {kept.reason}",)
    return replace(model, ours=with_constants(model.ours, model.subject, (model.prepared.program, kept))), ()


def _found(
    artifact: Artifact, failed: Check, made: Values, model: Measured, feed: Values, rounds: Rounds
) -> tuple[Finding, ...]:
    """What explains a failed check."""
    found = findings(made, model.subject, model.ours, model.ours.costs.get((artifact.precision, rounds)))
    if any(finding.stage == "preprocessing" for finding in found) or not isinstance(model.prepared, Prepared):
        return found
    if failed.layer is not None:
        assert not isinstance(failed.parity, NotRun)
        return (*found, Finding("layer", failed.parity.reason))
    return found + layer(artifact, failed, model.subject, model.prepared.program, feed, rounds)


def _run(engine: Engine, artifact: Artifact, feed: Values, expected: Values, asked: Asked) -> Values | NotRun:
    """What the file gives on one engine, under the model's names."""
    run = engine.open()
    if isinstance(run, NotRun):
        return run
    try:
        made = predict(run, feed, batch=batch_of(artifact))
    except Exception as error:  # each backend has errors of its own, and a file of another tool may raise any of them
        return NotRun(f"{engine.name} cannot run it: {in_one_line(error)}")
    return renamed(artifact, made, expected, asked.output_map)


def _compared(engine: Engine, made: Values | NotRun, artifact: Artifact, model: Measured, asked: Asked) -> Check:
    if isinstance(made, NotRun):
        return Check(engine.name, made)
    ours, key = model.ours, run_of(artifact, engine)
    names = [name for name in ours.truth if name in made or not asked.output_map]
    cost = ours.costs.get(key)
    parity = compare(
        _only(ours.truth, names),
        _only(ours.reference, names),
        made,
        precision=artifact.precision,
        precision_cost=None if cost is None else _only(cost, names),
        neighbours=[_only(run, names) for run in ours.neighbours.get(key, ())],
        labels=model.subject.choices,
        fixed=ours.fixed,
        tolerance=asked.limit(artifact),
        inputs=model.subject.inputs,
    )
    return judged(engine, artifact, parity, ours, made)


def _only(values: Values, names: Sequence[str]) -> Values:
    return {name: values[name] for name in names}


def _against_stored(target: Target, asked: Asked, stored: Stored, stages: Stages) -> FileCheck:
    """A file without a model: its answers to stored inputs beside the outputs stored with them."""
    artifact = target.artifact
    feed, expected = stored.feed(artifact), stored.outputs(artifact)
    with stages(f"check {artifact.path.name}"):
        checks = []
        for engine in engines(artifact):
            made = _run(engine, artifact, feed, expected, asked)
            if not isinstance(made, NotRun):
                told = f"the inputs of {stored.path.name}"
                limit = asked.limit(artifact)
                kept = {name: made[name] for name in made if name in expected}
                made = compare(expected, None, kept, precision=artifact.precision, tolerance=limit, inputs=told)
            checks.append(Check(engine.name, made))
    return FileCheck(artifact, f"the outputs stored in {stored.path.name}", tuple(checks), _remarks(artifact), ())


def _remarks(artifact: Artifact) -> tuple[str, ...]:
    how = compressed(artifact)
    if how is None:
        return ()
    return (
        f"its weights are compressed ({how}), which costs more than {artifact.precision}: the bound is that of "
        f"{artifact.precision} all the same; --atol and --rtol set another",
    )
