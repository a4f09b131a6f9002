"""`fuseport xcode compare` and `fuseport xcode gate`: reports side by side, and judged by rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .report_option import REPORT, write_reports
from .xcode_open import (
    JSON,
    PATHS,
    QUIET,
    STORE,
    base_of,
    console,
    one_line_errors,
    print_json,
    print_table,
    resolve,
    resolve_all,
    title_of,
)

if TYPE_CHECKING:
    from ...validate.xcode.gate import Verdict
    from ..page.write import Target


@click.command()
@click.argument("reports", nargs=-1)
@STORE
@click.option("--model", "subject", help="Matrix: only this variant or model.")
@click.option("--device", help="Matrix: only this device model.")
@click.option("--top", default=20, show_default=True, help="Operations to show.")
@REPORT
@JSON
def compare(
    reports: Sequence[str],
    store: Path | None,
    subject: str | None,
    device: str | None,
    top: int,
    targets: Sequence[Target],
    as_json: bool,
) -> None:
    """Compare two reports (ids or files), or without any, all stored ones as a matrix."""
    if len(reports) not in (0, 2):
        raise click.UsageError("expected two reports to compare, or none for the matrix of the store")
    if reports:
        _compare_two(reports[0], reports[1], store, top, targets, as_json)
        return
    from ...validate.xcode import store as stores
    from ...validate.xcode.compare import matrix

    with one_line_errors():
        cells = matrix(stores.rows(store or stores.default_path(), subject=subject, device=device))
    views = [asdict(cell) | {"newest": cell.newest._asdict()} for cell in cells] if targets or as_json else []
    matrix_view = {"schema": "fuseport.xcode.matrix/1", "cells": views}
    write_reports(matrix_view, targets, Path(), "devices")
    if as_json:
        print_json(matrix_view)
    else:
        from .xcode_tables import matrix_cells, matrix_table

        print_table(lambda: matrix_table(cells), [matrix_cells(cell) for cell in cells])


def _compare_two(
    before: str, after: str, store: Path | None, top: int, targets: Sequence[Target], as_json: bool
) -> None:
    from ...validate.xcode.compare import difference

    with one_line_errors():
        entries = [resolve(name, store) for name in (before, after)]
        changes = difference(entries[0].report, entries[1].report)
    first, second = (title_of(entry) for entry in entries)
    view = {"schema": "fuseport.xcode.difference/1", "before": first, "after": second} | asdict(changes)
    write_reports(view, targets, Path(), "comparison")
    if as_json:
        print_json(view)
        return
    from .xcode_tables import difference_page

    console().print(difference_page(changes, first, second, top))


@click.command()
@click.argument("reports", nargs=-1, required=True)
@STORE
@click.option(
    "--rule", "rules", multiple=True, help="predict.p95<=16ms, load.uncached<=2s, ane.share>=0.9, size<=12MB …"
)
@click.option("--max-regression", metavar="PERCENT", help="Most that the times may grow over the base, as in 5%.")
@click.option(
    "--base", help="The report to compare with [default: the one stored before of same model, device and units]."
)
@click.option("--metric", "metrics", multiple=True, help="Times of --max-regression [default: predict.median].")
@click.option("--allow-noisy", is_flag=True, help="Too noisy to tell does not fail the gate.")
@click.option("--junit", type=PATHS, help="Write the verdicts as JUnit XML.")
@click.option("--markdown", type=PATHS, help="Write the verdicts as a Markdown table.")
@REPORT
@JSON
@QUIET
def gate(
    reports: Sequence[str],
    store: Path | None,
    rules: Sequence[str],
    max_regression: str | None,
    base: str | None,
    metrics: tuple[str, ...],
    allow_noisy: bool,
    junit: Path | None,
    markdown: Path | None,
    targets: Sequence[Target],
    as_json: bool,
    quiet: bool,
) -> None:
    """Judge reports (ids or files) by rules: pass, fail, or too noisy to tell. Exit code 0 only if all pass."""
    from ...validate.xcode import gate as gates
    from ...validate.xcode.rules import parse_part, parse_rule

    with one_line_errors():
        parsed = [parse_rule(rule) for rule in rules]
        allowed = None if max_regression is None else parse_part(max_regression)
        verdicts: dict[str, list[Verdict]] = {}
        for name in reports:
            for entry in resolve_all(name, store):
                before = None if allowed is None else base_of(entry, base, store).report
                verdicts[title_of(entry)] = gates.gate(entry.report, parsed, before, allowed, metrics)
    _write_verdicts(verdicts, junit, markdown, allow_noisy)
    views = [{"report": heading, "verdicts": [asdict(v) for v in cases]} for heading, cases in verdicts.items()]
    view = {"schema": "fuseport.xcode.gate/1", "allow_noisy": allow_noisy, "reports": views}
    write_reports(view, targets, Path(), "gate")
    if as_json:
        print_json(view)
    elif not quiet:
        from .xcode_tables import verdict_table

        for heading, cases in verdicts.items():
            console().print(verdict_table(heading, cases))
    accepted = {gates.PASS, gates.NOISY} if allow_noisy else {gates.PASS}
    if any(verdict.outcome not in accepted for cases in verdicts.values() for verdict in cases):
        raise SystemExit(1)


def _write_verdicts(
    verdicts: dict[str, list[Verdict]], junit: Path | None, markdown: Path | None, allow_noisy: bool
) -> None:
    from ...validate.xcode import verdicts as writers

    with one_line_errors():
        if junit:
            junit.write_text(writers.junit(verdicts, allow_noisy=allow_noisy), encoding="utf-8")
        if markdown:
            markdown.write_text(writers.markdown(verdicts), encoding="utf-8")
