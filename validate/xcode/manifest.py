"""The exporter's `NAME.report.json` → what a performance report can be joined to.

Read are, of the `artifact` of each object in the top-level array `results`:
`export_id` (text), `modules` (operation output name → module path, "" for the root), `operations` (operator type →
count, constants left out), `path` or `name` (the artifact's file name), `bytes` (its size) and `format`; and of the
document `variant`, a text or an object with a `name`. Everything else is passed over, and all of it may be absent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from .document import ReportError, check_size, clean, parse_json, read_count, read_dict, read_list, read_text


@dataclass(frozen=True)
class ExportRecord:
    """One exported artifact, as its report tells of it. `name` is the file name without its ending."""

    source: str
    export_id: str | None = None
    variant: str | None = None
    name: str | None = None
    bytes: int | None = None
    format: str | None = None
    operations: Mapping[str, int] = field(default_factory=dict)
    modules: Mapping[str, str] = field(default_factory=dict)


def read_records(paths: Iterable[Path]) -> list[ExportRecord]:
    """The artifacts of export reports; a folder stands for the `*.report.json` in it. Raises `ReportError`."""
    records: list[ExportRecord] = []
    for path in paths:
        files = sorted(path.glob("*.report.json")) if path.is_dir() else [path]
        if not files:
            raise ReportError(f"{clean(path.name)}: expected export reports, found no *.report.json in the folder")
        for file in files:
            records += _read_file(file)
    return records


def _read_file(path: Path) -> list[ExportRecord]:
    name = clean(path.name)
    try:
        check_size(path.stat().st_size, name)
        document = read_dict(parse_json(path.read_bytes(), name), name)
    except OSError as error:
        raise ReportError(f"{name}: the export report cannot be read ({error.strerror})") from None
    results = [read_dict(one, f"{name}: results") for one in read_list(document.get("results"), f"{name}: results")]
    if not results:
        raise ReportError(
            f"{name}: expected an export report with results, found none; name the file export-model wrote"
        )
    return [_record(read_dict(one.get("artifact"), f"{name}: artifact"), document, name) for one in results]


def _record(artifact: dict[str, Any], document: dict[str, Any], source: str) -> ExportRecord:
    path = _text(artifact, "path", source) or _text(artifact, "name", source)
    size = artifact.get("bytes")
    modules = read_dict(artifact.get("modules"), f"{source}: modules")
    operations = read_dict(artifact.get("operations"), f"{source}: operations")
    return ExportRecord(
        source=source,
        export_id=_text(artifact, "export_id", source),
        variant=_variant(artifact.get("variant") or document.get("variant"), source),
        name=PurePosixPath(path.replace("\\", "/")).stem if path else None,
        bytes=None if size is None else read_count(size, f"{source}: bytes"),
        format=_text(artifact, "format", source),
        operations={clean(k): read_count(n, f"{source}: operations") for k, n in operations.items()},
        modules={clean(k): read_text(m, f"{source}: modules") for k, m in modules.items()},
    )


def _variant(value: Any, source: str) -> str | None:
    if isinstance(value, dict):
        value = value.get("name")
    return None if value is None else read_text(value, f"{source}: variant")


def _text(artifact: dict[str, Any], key: str, source: str) -> str | None:
    value = artifact.get(key)
    return None if value is None else read_text(value, f"{source}: {key}")
