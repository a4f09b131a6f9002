"""What an export report says of how its model was built and its files were made, read back with nothing taken on trust.

A report is text that anyone may have written. Every field that is used is looked at: it must have the type that the
exporter writes, a checkpoint is a bare file name (the user says where it lies), and the path of a Python file is never
taken from a report, since building such a model runs it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..artifact import Artifact
from ..job import Source
from ..report import SCHEMA

SUFFIX = ".report.json"
FAMILY = SCHEMA.partition("/")[0]
MOST_BYTES = 256 * 2**20


class ReportError(ValueError):
    """A report that cannot be used; the message is one line that names it."""


@dataclass(frozen=True)
class Recorded:
    """One export, as its report tells it. `files` maps the name of each file to its entry under `results`."""

    path: Path
    source: Source
    weights_sha256: str | None
    files: dict[str, dict[str, Any]]
    versions: dict[str, str]

    def artifact(self, path: Path) -> dict[str, Any]:
        """What the report says of the file of this name; {} if nothing."""
        return self.files.get(path.name, {}).get("artifact", {})


def report_beside(artifact: Path) -> Path | None:
    """NAME.report.json beside NAME.onnx or NAME.mlpackage, if it is there."""
    found = artifact.with_name(artifact.stem + SUFFIX)
    return found if found.is_file() else None


def read_report(path: Path) -> Recorded:
    """The report at `path`. Raises ReportError for anything that is not one, or says not how the model was built."""
    record = _json(path)
    schema = record.get("schema")
    if schema != SCHEMA:
        if isinstance(schema, str) and schema.startswith(f"{FAMILY}/"):
            raise ReportError(f"{path}: expected a report of schema {SCHEMA}, got {schema}; use the fuseport it is of")
        raise ReportError(f"{path}: not an export report (its schema is {schema!r}, expected {SCHEMA!r})")
    if "source" not in record:
        raise ReportError(f"{path}: does not say how the model was built; give --against VARIANT, or export it again")
    results = [entry for entry in _list(record, "results", path) if isinstance(entry, dict)]
    artifacts = [(entry, entry.get("artifact")) for entry in results]
    return Recorded(
        path,
        _source(record["source"], path),
        _text(_dict(record, "weights", path), "sha256", path),
        {str(made.get("path")): entry for entry, made in artifacts if isinstance(made, dict)},
        {str(name): str(value) for name, value in _dict(record, "versions", path).items()},
    )


def changed_since(artifact: Artifact, recorded: Recorded) -> str | None:
    """A clause that says that the file is not the one that the report is about; None if it is."""
    known = recorded.artifact(artifact.path).get("sha256")
    if known is None:
        return f"{recorded.path.name} says nothing of {artifact.path.name}"
    if known == artifact.sha256:
        return None
    return f"the file has changed since its report: sha256 {artifact.sha256[:12]}…, was {str(known)[:12]}…"


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ReportError(f"{path}: {path.stat().st_size:,} bytes; a report has less than {MOST_BYTES:,}")
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReportError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, ReportError):
            raise
        raise ReportError(f"{path}: expected an export report in JSON, but it is not JSON") from error
    if not isinstance(record, dict):
        raise ReportError(f"{path}: expected an export report, a JSON object; got {type(record).__name__}")
    return record


def _source(record: Any, path: Path) -> Source:
    if not isinstance(record, dict):
        raise ReportError(f"{path}: source should be an object, got {type(record).__name__}")
    unknown = sorted(set(record) - set(Source.__dataclass_fields__))
    if unknown:
        raise ReportError(f"{path}: source has {', '.join(unknown)}, written by a later fuseport; use that one")
    options = _dict(record, "model_args", path)
    if not all(isinstance(value, (bool, int, float, str)) for value in options.values()):
        raise ReportError(f"{path}: source.model_args should hold numbers, switches and text")
    variant = _text(record, "variant", path)
    if not variant:
        raise ReportError(f"{path}: its model is code of yours, which no report may run; give --against FILE.py:NAME")
    checkpoint = _text(record, "checkpoint", path)
    return Source(
        variant=variant,
        checkpoint=Path(Path(checkpoint).name) if checkpoint else None,
        checkpoint_key=_text(record, "checkpoint_key", path),
        pretrained=_text(record, "pretrained", path),
        num_classes=_whole(record, "num_classes", path),
        in_chans=_whole(record, "in_chans", path) or 3,
        model_args=options,
        image_size=_whole(record, "image_size", path),
        seed=_whole(record, "seed", path) or 0,
    )


def _dict(record: Mapping[str, Any], key: str, path: Path) -> dict[str, Any]:
    return _typed(record, key, dict, "an object", path) or {}


def _list(record: Mapping[str, Any], key: str, path: Path) -> list[Any]:
    return _typed(record, key, list, "a list", path) or []


def _text(record: Mapping[str, Any], key: str, path: Path) -> str | None:
    return _typed(record, key, str, "text", path)


def _whole(record: Mapping[str, Any], key: str, path: Path) -> int | None:
    value = _typed(record, key, int, "a whole number", path)
    if isinstance(value, bool) or (value is not None and value < 0):
        raise ReportError(f"{path}: {key} should be a whole number, got {value}")
    return value


def _typed(record: Mapping[str, Any], key: str, kind: type, told: str, path: Path) -> Any:
    value = record.get(key)
    if value is not None and not isinstance(value, kind):
        raise ReportError(f"{path}: {key} should be {told}, got {type(value).__name__}")
    return value
