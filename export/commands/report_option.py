"""`--report`, the same for every command that has a report to show."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..page.write import Target


def _targets(context: click.Context, parameter: click.Parameter, texts: Sequence[str]) -> list[Target]:
    """The option's texts as targets; checked before the command begins its work."""
    if not texts:
        return []
    from ..page.write import target

    try:
        return [target(text) for text in texts]
    except ValueError as error:
        raise click.UsageError(str(error)) from error


REPORT = click.option(
    "--report",
    "targets",
    multiple=True,
    callback=_targets,
    metavar="html|md|json|junit[=FILE]",
    help="Write the report as a page (html), for a pull request (md), for machines (json, junit); may be repeated.",
)


def remove_stale(targets: Sequence[Target], folder: Path, stem: str) -> None:
    """Remove pages of an earlier report of this name, and say on stderr which."""
    from ..page.write import remove_stale

    for path in remove_stale(targets, folder, stem):
        click.echo(f"removed: {path}, the page of an earlier run", err=True)


def write_reports(report: dict[str, Any], targets: Sequence[Target], folder: Path, name: str) -> None:
    """Write the JSON form of a report to every target, and say on stderr where it lies."""
    if targets:
        from ..page.write import write

        stem = re.sub(r"[^\w.+-]+", "_", name).strip("._") or "report"
        for path in write(report, targets, folder, stem):
            click.echo(f"report: {path}", err=True)
