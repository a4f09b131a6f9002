"""One run of the exporter: model → folded program → files → proof → report. Everything lands at once, or nothing does.

The files are written and checked in a hidden folder beside their destination. They take their place, together with the
report, when all checks are through. Where a check failed, the whole folder is put aside as NAME.failed, and what was
there before stays.
"""

from __future__ import annotations

import functools
import gc
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from ..reparam import by_module
from . import FORMATS
from .artifact import Artifact, export_id
from .atomic import NotWritten, staging
from .job import Job
from .labels import read_labels
from .lowering.legalize import legalized
from .mapped import Mapped, mapped
from .metadata import input_contract, metadata_of, static_form
from .precision.find import find_precision
from .precision.plan import Plan, PlanError, names_for, read_plan
from .profile.timing import latencies
from .program import Prepared, prepare
from .proof.check import Yardstick, check, explained, yardstick
from .proof.cover import cover, estimated
from .proof.sensitivity import Estimates
from .report import SCHEMA, ExportReport, Result, outcome_of, report_json
from .request import Request
from .stages import Stages
from .subject import Subject, subject


class UsageError(ValueError):
    """What was asked for cannot be done: the message says what was expected, what came, and what to do next."""


def export(job: Job, *, announce: Callable[[str], None] = lambda stage: None) -> ExportReport:
    """Do the whole job; write its files and its report.

    Raises UsageError, before anything is written, for input that cannot be used; ValueError, RuntimeError or OSError
    for a stage that fails. A failed check is no exception but the report's outcome.
    """
    stages = Stages(announce)
    with stages("load"):
        job, loaded = _usable(job)
    with _room(job) as room, mapped(room, loaded.loaded.module) as weights:
        stages.at_end = weights.let_go
        prepared = prepare(loaded, job, stages, keep=weights.moved)
        report = _fill(room, job, loaded, prepared, weights, stages)
        (room / f"{job.stem}.report.json").write_text(report_json(report), encoding="utf-8")
        return _moved(report, _put_in_place(room, job, report))


def _usable(job: Job) -> tuple[Job, Subject]:
    """The job with everything read that it names, or UsageError."""
    try:
        if not job.formats:
            raise ValueError(f"no format asked for; known: {', '.join(FORMATS)}")
        if job.output_dir.exists() and not job.output_dir.is_dir():
            raise ValueError(f"--output-dir {job.output_dir} is a file; expected a folder")
        loaded = subject(job)
        request = replace(job.request, image_input=loaded.image_input, labels=_labels(job, loaded))
        for name in job.formats:
            FORMATS[name].check(request)
        _check_precision(job)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return replace(job, request=request), loaded


def _check_precision(job: Job) -> None:
    """Raise a ValueError where a plan of precisions could not be used."""
    asked = "--precision auto" if job.find_precision else "--precision-file" if job.precision_file else None
    if asked and "coreml" not in job.formats:
        raise ValueError(f"{asked} is for Core ML files, but the formats are {', '.join(job.formats)}; add coreml")
    if job.precision_file is not None:
        read_plan(job.precision_file)


def _labels(job: Job, loaded: Subject) -> tuple[str, ...] | None:
    if job.labels is None:
        return None
    return read_labels(job.labels, next(iter(loaded.reference.values())).shape[-1])


@contextmanager
def _room(job: Job) -> Iterator[Path]:
    """A hidden folder beside the destination, gone afterwards with all that is still in it."""
    fresh = not job.output_dir.exists()
    try:
        job.output_dir.mkdir(parents=True, exist_ok=True)
        room = Path(tempfile.mkdtemp(prefix=f".{job.stem}.", suffix=".partial", dir=job.output_dir))
    except OSError as error:
        raise NotWritten(
            f"cannot write into {job.output_dir}: {error.strerror}; choose another --output-dir"
        ) from error
    try:
        yield room
    except NotWritten as error:
        raise NotWritten(str(error).replace(str(room), str(job.output_dir))) from error
    finally:
        shutil.rmtree(room, ignore_errors=True)
        if fresh:
            with suppress(OSError):  # it holds what was made
                job.output_dir.rmdir()


def _fill(room: Path, job: Job, loaded: Subject, prepared: Prepared, weights: Mapped, stages: Stages) -> ExportReport:
    """Convert, check and measure; everything that a run makes lies in `room` afterwards, except its report."""
    job, plan, made = _settle_precision(room, job, loaded, prepared, stages)
    identity = export_id(prepared.program, job.request)
    artifacts = [
        made.get(name) or _convert(name, room, job, loaded, prepared, identity, stages) for name in job.formats
    ]
    gc.collect()  # the converters leave copies of the weights behind, in cycles
    with stages("run the model for comparison"):
        mixed = prepared.program, job.request.float32
        precisions = {artifact.precision for artifact in artifacts}
        ours = yardstick(loaded, prepared.folded, prepared.captured, precisions, mixed)
    foresight = functools.cache(lambda: estimated(loaded, weights))
    results = tuple(_result(artifact, job, loaded, prepared, ours, foresight, stages) for artifact in artifacts)
    measured = {}
    if job.checks.benchmark:
        with stages("measure latency"):
            measured = latencies(loaded, prepared.folded, artifacts)
    outcome, reason = outcome_of(results, require_parity=job.checks.require_parity)
    return ExportReport(
        schema=SCHEMA,
        fuseport=version("fuseport"),
        outcome=outcome,
        reason=reason,
        variant=loaded.loaded.variant.name,
        family=loaded.loaded.variant.family,
        export_id=identity,
        source=job.source.portable,
        checked_on=job.checks,
        weights=loaded.loaded.weights,
        contract=input_contract(loaded),
        request=job.request,
        folded=prepared.folded,
        modules=by_module(prepared.folded.module),
        static_form=static_form(loaded.loaded.module),
        results=results,
        mixed_precision=plan,
        latencies=measured,
        stages=tuple(stages.done),
        versions={name: number for artifact in artifacts for name, number in artifact.versions.items()},
        folder=room,
    )


def _settle_precision(
    room: Path, job: Job, loaded: Subject, prepared: Prepared, stages: Stages
) -> tuple[Job, Plan | None, dict[str, Artifact]]:
    """The job with the operators that stay in float32, the plan where they were searched for, and files made by it."""
    if job.precision_file is not None:
        try:
            names = names_for(job.precision_file, legalized(prepared.program))
        except PlanError as error:
            raise UsageError(str(error)) from error
        return replace(job, request=replace(job.request, float32=names)), None, {}
    if not job.find_precision:
        return job, None, {}

    def convert(request: Request) -> Artifact:
        identity = export_id(prepared.program, request)
        return _converted("coreml", room, replace(job, request=request), loaded, prepared, identity)

    with stages("find what must stay in float32"), tempfile.TemporaryDirectory(dir=room) as folder:
        plan, made = find_precision(job, loaded, prepared, Path(folder), convert)
    (room / f"{job.stem}.precision.json").write_text(report_json(plan), encoding="utf-8")
    return replace(job, request=replace(job.request, float32=plan.names)), plan, {"coreml": made} if made else {}


def _convert(
    name: str, room: Path, job: Job, loaded: Subject, prepared: Prepared, identity: str, stages: Stages
) -> Artifact:
    with stages(f"convert to {name}"):
        return _converted(name, room, job, loaded, prepared, identity)


def _converted(name: str, room: Path, job: Job, loaded: Subject, prepared: Prepared, identity: str) -> Artifact:
    form = FORMATS[name]
    return form.convert(
        prepared.program,
        room / f"{job.stem}{form.SUFFIX}",
        job.request,
        metadata_of(loaded, prepared),
        input_names=loaded.input_names,
        output_names=loaded.output_names,
        export_id=identity,
    )


def _result(
    artifact: Artifact,
    job: Job,
    loaded: Subject,
    prepared: Prepared,
    ours: Yardstick,
    foresight: Callable[[], Estimates],
    stages: Stages,
) -> Result:
    with stages(f"check {artifact.path.name}"):
        checks = check(artifact, loaded, ours, job.checks)
        checks = explained(checks, artifact, loaded, prepared.program)
    with stages(f"look for weights that the check of {artifact.path.name} cannot see"):
        return Result(artifact, checks, cover(checks, foresight))


def _moved(report: ExportReport, folder: Path) -> ExportReport:
    """The report of files that now lie in `folder`."""
    results = tuple(
        replace(result, artifact=replace(result.artifact, path=folder / result.artifact.path.name))
        for result in report.results
    )
    return replace(report, folder=folder, results=results)


def _put_in_place(room: Path, job: Job, report: ExportReport) -> Path:
    """Move what lies in `room` to its destination; the folder in which it now is."""
    if report.outcome != "failed":
        made = sorted(path.name for path in room.iterdir())
        with staging(*(job.output_dir / name for name in made)) as staged:
            for path in staged:
                (room / path.name).rename(path)
        return job.output_dir
    aside = job.output_dir / f"{job.stem}.failed"
    with staging(aside) as (staged_folder,):
        room.rename(staged_folder)
    return aside
