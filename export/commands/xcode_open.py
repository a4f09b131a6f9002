"""What the `fuseport xcode` commands share: reports by file or id, library errors as one line, and printing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from ...validate.xcode.join import Join
    from ...validate.xcode.manifest import ExportRecord
    from ...validate.xcode.report import Report
    from ...validate.xcode.store import Entry, Row

MAX_LAID_OUT = 200
PATHS = click.Path(path_type=Path)
STORE = click.option("--store", type=PATHS, help="The store's file [default: $FUSEPORT_STORE].")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
QUIET = click.option("--quiet", is_flag=True, help="Print only errors.")


def read_all(
    paths: Sequence[Path],
    records: Sequence[ExportRecord],
    notes: tuple[str, ...],
    said: dict[str, str | None],
    keep_identifiers: bool,
) -> tuple[list[Entry], list[str]]:
    """(an entry per report, one line per file that is none). A file that comes twice counts once."""
    from ...validate.xcode import ReportError, find_documents, holds_report, read_report
    from ...validate.xcode.join import find_export
    from ...validate.xcode.store import Entry

    entries: dict[str, Entry] = {}
    errors = []
    for path in paths:
        for document in find_documents(path, holds_report):
            try:
                if isinstance(document, ReportError):
                    raise document
                report = _complete(read_report(document, keep_identifiers=keep_identifiers), said)
                join = _joined(document.label, lambda report=report: find_export(report, records))
                entries.setdefault(report.source.sha256, Entry(report, join, notes))
            except ReportError as error:
                errors.append(str(error))
    return list(entries.values()), errors


def _joined(label: str, find: Callable[[], Join | None]) -> Join | None:
    from ...validate.xcode import ReportError

    try:
        return find()
    except ReportError as error:
        raise ReportError(f"{label}: {error}") from None


def _complete(report: Report, said: dict[str, str | None]) -> Report:
    """What the user says of the device, where the file says nothing."""
    missing = {key: value for key, value in said.items() if value and getattr(report.device, key) is None}
    if not missing:
        return report
    warning = (
        f"{' and '.join('device' if key == 'model' else 'OS' for key in missing)} as given on import, not by the file"
    )
    return replace(report, device=replace(report.device, **missing), warnings=(*report.warnings, warning))


def resolve(name: str, store: Path | None) -> Entry:
    """The report of a file that holds one, or of an id in the store."""
    from ...validate.xcode import ReportError

    entries = resolve_all(name, store)
    if len(entries) != 1:
        raise ReportError(f"{name}: expected one report, found {len(entries)}; name one of them")
    return entries[0]


def resolve_all(name: str, store: Path | None) -> list[Entry]:
    """The reports of a file, archive or folder, or the one with an id in the store."""
    from ...validate.xcode import ReportError
    from ...validate.xcode import store as stores

    if not Path(name).exists():
        return [stores.get(store or stores.default_path(), name)]
    entries, errors = read_all([Path(name)], [], (), {}, False)
    if errors:
        raise ReportError(errors[0])
    return entries


def base_of(entry: Entry, base: str | None, store: Path | None) -> Entry:
    """The named base, or the newest stored report of the same subject, device and units that ran before this one."""
    from ...validate.xcode import ReportError
    from ...validate.xcode import store as stores

    if base is not None:
        return resolve(base, store)
    path = store or stores.default_path()
    ours = stores.summary(entry.report, "", entry.join)
    for row in stores.rows(path, device=ours.device):
        if _precedes(row, ours):
            return stores.get(path, row.sha256)
    tested = f"{ours.subject} on {ours.device} ({ours.units})"
    raise ReportError(f"no earlier report of {tested} in the store; name a --base")


def _precedes(row: Row, ours: Row) -> bool:
    """Whether a stored report, of the same device, measured the same subject in the same way, and earlier."""
    same_subject = row.subject == ours.subject or (row.model is not None and row.model == ours.model)
    same_way = (row.units, row.format) == (ours.units, ours.format)
    earlier = row.sha256 != ours.sha256 and (row.ran_at or "") <= (ours.ran_at or "~")
    return same_subject and same_way and earlier


def title_of(entry: Entry) -> str:
    from .xcode_tables import title

    return f"{title(entry.report, entry.join.variant if entry.join else None)} [{entry.report.source.sha256[:8]}]"


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Library errors as one line on stderr: exit code 2 for a rule that cannot be understood, else 1."""
    from ...validate.xcode import ReportError
    from ...validate.xcode.database import StoreError
    from ...validate.xcode.rules import RuleError

    try:
        yield
    except RuleError as error:
        _exit(str(error), 2)
    except (ReportError, StoreError) as error:
        _exit(str(error), 1)
    except OSError as error:
        _exit(f"{Path(error.filename or '').name}: {error.strerror or error}", 1)
    except MemoryError:
        _exit("not enough memory for this report", 1)


def _exit(message: str, code: int) -> NoReturn:
    click.echo(f"error: {message}", err=True)
    raise SystemExit(code)


def console() -> Console:
    """Foreign texts are printed as they are; a pipe gets wide lines instead of 80 columns."""
    from rich.console import Console

    terminal = Console(markup=False, emoji=False, highlight=False)
    return terminal if terminal.is_terminal else Console(markup=False, emoji=False, highlight=False, width=200)


def print_table(table: Callable[[], RenderableType], rows: Sequence[Sequence[str]]) -> None:
    """A table, or its rows with tabs between when they are many: laying out thousands of rows takes seconds."""
    if len(rows) > MAX_LAID_OUT:
        click.echo("\n".join("\t".join(row) for row in rows))
    else:
        console().print(table())


def print_json(value: dict[str, Any]) -> None:
    """On one line: indenting takes Python's slow encoder, a second for ten thousand reports."""
    click.echo(json.dumps(value))
