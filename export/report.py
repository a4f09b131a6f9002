"""The export report: everything a run did and found, as one value, and its JSON (schema in `SCHEMA`).

The JSON has the fields of `ExportReport`, nested as the dataclasses are; paths are file names, a stage that could not
run is `{"not_run": reason}`, and a number that does not exist is null. A reader of schema 1 may rely on every field
that is here; later versions of the same schema only add.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

from ..models.loaded import Weights
from ..reparam import Folded
from ..validate.latency import Latency
from ..validate.parity import Parity
from ..validate.vacuity import Coverage
from .artifact import Artifact, NotRun
from .request import Request
from .stages import Stage

SCHEMA = "fuseport.report/1"

Outcome = Literal["passed", "failed", "not checked"]


@dataclass(frozen=True)
class Result:
    """One format: the file, and how it compares with the model."""

    artifact: Artifact
    parity: Parity | NotRun


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
    weights: Weights
    contract: dict[str, object]
    """What a caller must do to a picture; `inside_the_model` names the steps that the files do themselves."""
    request: Request
    folded: Folded
    results: tuple[Result, ...]
    coverage: Coverage | NotRun
    latencies: dict[str, Latency]
    stages: tuple[Stage, ...]
    versions: dict[str, str]
    folder: Path


def outcome_of(results: tuple[Result, ...], *, require_parity: bool) -> tuple[Outcome, str]:
    """The verdict on a whole run, and why: one failed file fails it; a file nobody could check keeps it unproven."""
    for result in results:
        if isinstance(result.parity, NotRun):
            if require_parity:
                return "failed", f"{result.artifact.path.name}: {result.parity.reason} (--require-parity)"
        elif result.parity.verdict == "failed" or (require_parity and result.parity.verdict != "passed"):
            return "failed", f"{result.artifact.path.name}: {result.parity.reason}"
    unproven = [result for result in results if isinstance(result.parity, NotRun) or result.parity.verdict != "passed"]
    if unproven:
        first = unproven[0]
        return "not checked", f"{first.artifact.path.name}: {first.parity.reason}"
    return "passed", f"{len(results)} of {len(results)} files compute what the model computes"


def report_json(report: ExportReport) -> str:
    """The report as JSON text with a final newline; the order of fields is fixed."""
    return json.dumps(_plain(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, NotRun):
        return {"not_run": value.reason}
    if isinstance(value, Folded):
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
    if isinstance(value, float) and value != value:
        return None
    return value
