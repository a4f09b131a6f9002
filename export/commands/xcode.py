"""`fuseport xcode`: import, list, show, compare and gate performance reports, and redact them for sharing.

Exit codes: 0 all went well, 1 a report could not be read or a gate said no, 2 wrong usage. The work is in
`validate/xcode`; this file parses options, prints and exits.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .report_option import REPORT, write_reports
from .xcode_judge import compare, gate
from .xcode_open import JSON, PATHS, QUIET, STORE, console, one_line_errors, print_json, print_table, read_all, resolve

if TYPE_CHECKING:
    from ...validate.xcode.store import Entry
    from ..page.write import Target

PAGES = 3
"""More imported reports than this are listed in one table instead of a page each."""


@click.group("xcode")
def command() -> None:
    """Performance reports of Xcode (.mlperf), TFLite and ONNX Runtime: import, compare, gate, redact."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that cannot show a sign shows ?, not a traceback
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]


@command.command("import")
@click.argument("paths", nargs=-1, required=True, type=PATHS)
@STORE
@click.option("--no-store", is_flag=True, help="Print only, keep nothing.")
@click.option(
    "--export", "exports", multiple=True, type=PATHS, help="Join to this export: NAME.report.json or a folder."
)
@click.option("--note", "notes", multiple=True, help="Keep a note with the reports (Xcode version, on charger, …).")
@click.option("--device", help="Device model, for files that do not tell it.")
@click.option("--os", "system", help="OS and version, for files that do not tell it.")
@click.option("--keep-identifiers", is_flag=True, help="Keep device nickname, serial number and model path.")
@click.option("--keep-going", is_flag=True, help="Store the readable reports although others fail.")
@click.option("--by", type=click.Choice(["module", "type", "operation"]), default="module", show_default=True)
@click.option("--top", default=10, show_default=True, help="Rows of a table.")
@click.option("--depth", type=click.IntRange(1), help="Cut module paths to this many components.")
@REPORT
@JSON
@QUIET
def import_reports(
    paths: Sequence[Path],
    store: Path | None,
    no_store: bool,
    exports: Sequence[Path],
    notes: tuple[str, ...],
    device: str | None,
    system: str | None,
    keep_identifiers: bool,
    keep_going: bool,
    by: str,
    top: int,
    depth: int | None,
    targets: Sequence[Target],
    as_json: bool,
    quiet: bool,
) -> None:
    """Read reports, show them, and keep them in the store.

    PATHS are .mlperf bundles, their report.json under any name, zip archives of them, folders, or the output of
    benchmark_model, onnxruntime_perf_test or ONNX Runtime's profiler. If one cannot be read nothing is stored.
    """
    from ...validate.xcode import store as stores
    from ...validate.xcode.document import clean
    from ...validate.xcode.manifest import read_records

    with one_line_errors():
        records = read_records(exports)
        said = {"model": device and clean(device), "os": system and clean(system)}
        entries, errors = read_all(paths, records, tuple(map(clean, notes)), said, keep_identifiers)
        where = None if no_store else store or stores.default_path()
        keep = where is not None and entries and (keep_going or not errors)
        new = stores.add(where, entries) if keep and where else [False] * len(entries)
    if targets:
        write_reports(_import_view(entries, new, errors), targets, Path(), _name(entries))
    if as_json:
        print_json(_import_view(entries, new, errors))
    elif not quiet:
        _print_entries(entries, by, top, depth)
        if keep:
            click.echo(f"{sum(new)} new in the store, {len(new) - sum(new)} known before.")
    for error in errors:
        click.echo(f"error: {error}", err=True)
    if errors:
        if entries and where and not keep:
            click.echo("error: nothing was stored; --keep-going stores the readable reports", err=True)
        raise SystemExit(1)


def _name(entries: Sequence[Entry]) -> str:
    """The name of the one model that was imported; with several there is none."""
    names = {(entry.join and entry.join.variant) or entry.report.model.name or "" for entry in entries}
    return names.pop() if len(names) == 1 else "performance"


def _import_view(entries: Sequence[Entry], new: Sequence[bool], errors: Sequence[str]) -> dict[str, Any]:
    from ...validate.xcode.view import view

    reports = [view(e.report, e.join, e.notes) | {"new": n} for e, n in zip(entries, new, strict=True)]
    return {"schema": "fuseport.xcode.import/1", "reports": reports, "errors": list(errors)}


def _print_entries(entries: Sequence[Entry], by: str, top: int, depth: int | None) -> None:
    from ...validate.xcode.store import summary
    from .xcode_page import report_page
    from .xcode_tables import report_rows

    if len(entries) > PAGES:
        console().print(report_rows([summary(e.report, "", e.join) for e in entries]))
        return
    for entry in entries:
        console().print(report_page(entry, by=by, top=top, depth=depth))


@command.command()
@click.argument("report")
@STORE
@click.option("--by", type=click.Choice(["module", "type", "operation"]), default="module", show_default=True)
@click.option("--top", default=10, show_default=True, help="Rows of a table.")
@click.option("--depth", type=click.IntRange(1), help="Cut module paths to this many components.")
@JSON
def show(report: str, store: Path | None, by: str, top: int, depth: int | None, as_json: bool) -> None:
    """Show a stored report (by its id) or a file, as import does."""
    with one_line_errors():
        entry = resolve(report, store)
    if as_json:
        print_json(_import_view([entry], [False], []))
    else:
        _print_entries([entry], by, top, depth)


@command.command()
@click.argument("source", metavar="IN", type=PATHS)
@click.argument("target", metavar="OUT", type=PATHS)
@JSON
@QUIET
def redact(source: Path, target: Path, as_json: bool, quiet: bool) -> None:
    """Copy the reports in IN to OUT without what names a person, a device or a home folder."""
    from ...validate.xcode.share import write_redacted

    with one_line_errors():
        copies = write_redacted(source, target)
    if as_json:
        print_json(
            {
                "schema": "fuseport.xcode.redact/1",
                "copies": [{"path": str(c.path), "changes": c.changes} for c in copies],
            }
        )
    elif not quiet:
        for copy in copies:
            click.echo(f"{copy.path}: {copy.changes} texts replaced")


@command.command("list")
@STORE
@click.option("--model", "subject", help="Only this variant or model.")
@click.option("--device", help="Only this device model.")
@click.option(
    "--limit", type=click.IntRange(0), default=50, show_default=True, help="Newest reports to show; 0 is all."
)
@JSON
def list_reports(store: Path | None, subject: str | None, device: str | None, limit: int, as_json: bool) -> None:
    """List the stored reports, the newest run first."""
    from ...validate.xcode import store as stores

    with one_line_errors():
        rows = stores.rows(store or stores.default_path(), subject=subject, device=device)
    shown = rows[: limit or None]
    if as_json:
        print_json({"schema": "fuseport.xcode.list/1", "reports": [row._asdict() for row in shown], "total": len(rows)})
        return
    from .xcode_tables import report_cells, report_rows

    print_table(lambda: report_rows(shown), [report_cells(row) for row in shown])
    if len(rows) > len(shown):
        click.echo(f"{len(rows) - len(shown)} more; --limit 0 shows all.")


command.add_command(compare)
command.add_command(gate)
