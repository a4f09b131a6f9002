"""Check files again: any .onnx or .mlpackage, against the model that it should be, on inputs of the user's choice.

The same comparison as at export: the model in float64 is the truth, in float32 the floor, rounded to the file's
precision the cost; the file is opened from the disk and run on every engine of its format. What differs is that nothing
is known of the file but what it says itself, so its inputs and outputs are joined to the model's first (`mapping.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

from ..validate.parity import compare, predict
from .against import Against, against
from .artifact import Artifact, NotRun, TensorSpec, in_one_line
from .check import Check, Yardstick, run_of, tolerance, yardstick
from .engines import Engine, engines
from .findings import Finding, findings, first_failed, layer
from .job import Checks, Job, Source
from .mapping import RANGES, Bridge, bridge, renamed
from .opened import compressed, open_artifact
from .program import Prepared, prepare
from .report import Outcome, outcome_of
from .request import Request
from .stages import Stage, Stages
from .stored import Stored, feed_of, read_stored
from .subject import Subject, Values, fed, subject

SCHEMA = "fuseport.check/1"


@dataclass(frozen=True)
class Asked:
    """What is to be checked. `source` is the model that the options name (its variant "" if none)."""

    artifacts: tuple[Path, ...]
    against: str | None = None
    source: Source | None = None
    checks: Checks = field(default_factory=Checks)
    inputs: Path | None = None
    """A .npz with the inputs, and maybe the outputs that are expected."""
    input_map: Mapping[str, str] = field(default_factory=dict)
    output_map: Mapping[str, str] = field(default_factory=dict)
    """File's name → model's."""
    input_range: str = "normalised"
    """What a file's float picture input takes: one of `mapping.RANGES`."""


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


def recheck(asked: Asked, *, announce: Callable[[str], None] = lambda stage: None) -> CheckReport:
    """Check all of `asked.artifacts`. Raises ValueError with one line for what cannot be used, before any check."""
    stages = Stages(announce)
    stored = None if asked.inputs is None else read_stored(asked.inputs)
    targets = [_target(path, asked, stored) for path in asked.artifacts]
    results = tuple(result for group in _by_model(targets) for result in _group(group, asked, stored, stages))
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


@dataclass(frozen=True)
class _Target:
    """One file with its reference, and the job that builds the model for it."""

    artifact: Artifact
    against: Against
    job: Job | None


def _target(path: Path, asked: Asked, stored: Stored | None) -> _Target:
    artifact = open_artifact(path)
    expected = stored is not None and stored.has_outputs(artifact)
    chosen = against(path, asked.against, asked.source, stored=expected)
    if chosen.source is None:
        return _Target(artifact, chosen, None)
    picture = next((given for given in artifact.inputs if given.kind == "image"), None)
    pixels = picture is not None or RANGES[asked.input_range] is not None
    source = chosen.source
    if source.image_size is None and chosen.recorded is None and (side := _side(artifact)):
        source = replace(source, image_size=side)
    size = _batch(artifact) or 1
    job = Job(source, (), Request(), asked.checks, image_input="nhwc" if pixels else None, batch_size=size)
    return _Target(artifact, chosen, job)


def _batch(artifact: Artifact) -> int | None:
    """Samples that the file takes at a time; None if any number."""
    size = artifact.inputs[0].shape[0] if artifact.inputs and artifact.inputs[0].shape else None
    return size if isinstance(size, int) else None


def _side(artifact: Artifact) -> int | None:
    """Height and width of the file's only picture-like input, where they are fixed and equal."""
    found = {_sides(given) for given in artifact.inputs} - {None}
    return found.pop() if len(found) == 1 else None


def _sides(given: TensorSpec) -> int | None:
    shape = given.shape
    if len(shape) != 4:
        return None
    height, width = shape[1:3] if shape[3] in (1, 3) else shape[2:4]
    return height if isinstance(height, int) and height == width else None


def _by_model(targets: list[_Target]) -> Iterator[list[_Target]]:
    """The files of one model together, so that it is loaded once; of one reference where several share it."""
    groups: dict[str, list[_Target]] = {}
    for target in targets:
        groups.setdefault(repr(target.job), []).append(target)
    yield from groups.values()


def _group(targets: list[_Target], asked: Asked, stored: Stored | None, stages: Stages) -> Iterator[FileCheck]:
    job = targets[0].job
    if job is None:
        assert stored is not None
        yield from (_against_stored(target, asked, stored, stages) for target in targets)
        return
    with stages(f"load {job.source.variant}"):
        loaded = subject(job)
    for target in targets:
        target.against.require(loaded.loaded.weights)
    if stored is not None:
        loaded = fed(loaded, feed_of(stored, targets[0].artifact, loaded.feed), f"the inputs of {stored.path.name}")
    bridges = [bridge(target.artifact, loaded.feed, asked.input_map, RANGES[asked.input_range]) for target in targets]
    model = _model(loaded, job, {target.artifact.precision for target in targets}, stages)
    for target, way in zip(targets, bridges, strict=True):
        with stages(f"check {target.artifact.path.name}"):
            yield _checked(target, way, model, asked)


@dataclass(frozen=True)
class _Model:
    """The model, what it answers, and its folded form."""

    subject: Subject
    ours: Yardstick
    prepared: Prepared


def _model(loaded: Subject, job: Job, precisions: set[str], stages: Stages) -> _Model:
    prepared = prepare(loaded, job, stages)
    with stages("run the model for comparison"):
        return _Model(loaded, yardstick(loaded, prepared.folded, precisions), prepared)


def _checked(target: _Target, way: Bridge, model: _Model, asked: Asked) -> FileCheck:
    artifact, loaded = target.artifact, model.subject.loaded
    feed = way.feed(model.subject.feed)
    runs = [(engine, _run(engine, artifact, feed, model.ours.truth, asked)) for engine in engines(artifact)]
    checks = tuple(_compared(engine, made, artifact, model, asked) for engine, made in runs)
    found: tuple[Finding, ...] = ()
    failed = first_failed(checks)
    if failed is not None and not isinstance(made := runs[failed][1], NotRun):
        rounds = runs[failed][0].rounds
        found = findings(made, model.subject, model.ours)
        if all(finding.stage != "preprocessing" for finding in found):
            program = model.prepared.program
            found += layer(artifact, checks[failed], model.subject, program, feed, rounds)
    return FileCheck(
        artifact,
        f"{loaded.variant.name}, weights: {loaded.weights.describe()}",
        checks,
        (*target.against.notes(artifact), *_remarks(artifact)),
        found,
    )


def _run(engine: Engine, artifact: Artifact, feed: Values, expected: Values, asked: Asked) -> Values | NotRun:
    """What the file gives on one engine, under the model's names."""
    run = engine.open()
    if isinstance(run, NotRun):
        return run
    try:
        made = predict(run, feed, batch=_batch(artifact))
    except Exception as error:  # each backend has errors of its own, and a file of another tool may raise any of them
        return NotRun(f"{engine.name} cannot run it: {in_one_line(error)}")
    return renamed(artifact, made, expected, asked.output_map)


def _compared(engine: Engine, made: Values | NotRun, artifact: Artifact, model: _Model, asked: Asked) -> Check:
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
        tolerance=tolerance(asked.checks),
        inputs=model.subject.inputs,
    )
    return Check(engine.name, parity)


def _only(values: Values, names: Sequence[str]) -> Values:
    return {name: values[name] for name in names}


def _against_stored(target: _Target, asked: Asked, stored: Stored, stages: Stages) -> FileCheck:
    """A file without a model: its answers to stored inputs beside the outputs stored with them."""
    artifact = target.artifact
    feed, expected = stored.feed(artifact), stored.outputs(artifact)
    with stages(f"check {artifact.path.name}"):
        checks = []
        for engine in engines(artifact):
            made = _run(engine, artifact, feed, expected, asked)
            if not isinstance(made, NotRun):
                told = f"the inputs of {stored.path.name}"
                limit = tolerance(asked.checks)
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
