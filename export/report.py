"""The export report: everything a run did and found, as one value, and its JSON (schema in `SCHEMA`).

The JSON has the fields of `ExportReport`, nested as the dataclasses are; paths are file names, a stage that could not
run is `{"not_run": reason}`, and a number that does not exist is null. A reader of schema 1 may rely on every field
that is here; later versions of the same schema only add.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from ..models.loaded import Weights
from ..reparam import Folded, ModuleCost
from ..validate.latency import Latency
from ..validate.vacuity import Coverage
from .artifact import Artifact, NotRun
from .job import Checks, Source
from .precision.plan import Plan
from .proof.check import Check
from .request import Request
from .stages import Stage

SCHEMA = "fuseport.report/1"

Outcome = Literal["passed", "failed", "not checked"]


@dataclass(frozen=True)
class Result:
    """One format: the file, and how it compares with the model on each engine that could run it."""

    artifact: Artifact
    checks: tuple[Check, ...]
    coverage: Coverage | NotRun


@dataclass(frozen=True)
class ExportReport:
    """A whole run."""

    schema: str
    fuseport: str
    outcome: Outcome
    reason: str
    variant: str
    family: str
    export_id: str
    source: Source
    """With `weights`, what it takes to build the model again; of a checkpoint the name alone."""
    checked_on: Checks
    weights: Weights
    contract: dict[str, object]
    """What a caller must do to a picture; `inside_the_model` names the steps that the files do themselves."""
    request: Request
    folded: Folded
    modules: tuple[ModuleCost, ...]
    """What each module of the folded model costs."""
    static_form: tuple[str, ...]
    """What the fixed shape of the files settles that the model leaves open: random draws, bounds, ties, batches."""
    results: tuple[Result, ...]
    mixed_precision: Plan | None
    """What a search found that a float16 file must keep in float32, and why."""
    latencies: dict[str, Latency]
    stages: tuple[Stage, ...]
    versions: dict[str, str]
    folder: Path


class Checked(Protocol):
    """A file with the checks that were made of it."""

    @property
    def artifact(self) -> Artifact: ...

    @property
    def checks(self) -> tuple[Check, ...]: ...


def outcome_of(results: Sequence[Checked], *, require_parity: bool) -> tuple[Outcome, str]:
    """The verdict on a whole run, and why: one failed check fails it, and so does, where parity is required, a file
    that no engine passed; without that a file nobody could judge leaves the run unproven."""
    for result in results:
        for check in result.checks:
            if not isinstance(check.parity, NotRun) and check.parity.verdict == "failed":
                return "failed", f"{result.artifact.path.name} ({check.engine}): {check.parity.reason}"
    for result in results:
        unproven = [check for check in result.checks if _verdict(check) != "passed"]
        if len(unproven) == len(result.checks):
            told = f"{result.artifact.path.name}: {unproven[0].parity.reason}" if unproven else "no engine runs it"
            return ("failed", f"{told} (--require-parity)") if require_parity else ("not checked", told)
    return "passed", f"{len(results)} of {len(results)} files compute what the model computes"


def _verdict(check: Check) -> str:
    return "not run" if isinstance(check.parity, NotRun) else check.parity.verdict


def report_json(report: object) -> str:
    """The report as JSON text with a final newline; the order of fields is fixed."""
    return as_json(report)


def as_json(value: Any) -> str:
    """Any of our nouns as JSON text, as described above."""
    return json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, NotRun):
        return {"not_run": value.reason}
    if isinstance(value, (Folded, Source)):
        named = {field.name: getattr(value, field.name) for field in fields(value) if field.name != "module"}
        return _plain(named)
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value) if field.name != "folder"}
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, Path):
        return value.name
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
