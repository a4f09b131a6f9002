"""The summary of a job on GitHub Actions: Markdown that is added to the file that the runner names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

VARIABLE = "GITHUB_STEP_SUMMARY"


def github_summary() -> Path:
    """The file of this step's summary, asked for before any work begins; click.UsageError off GitHub Actions."""
    path = os.environ.get(VARIABLE)
    if not path:
        raise click.UsageError(f"--summary needs {VARIABLE}, which GitHub Actions sets; elsewhere --report md=FILE")
    return Path(path)


def append_summary(report: dict[str, Any], path: Path) -> None:
    """Add the report (its JSON form) to the summary at `path`, below what other steps wrote."""
    from ..page.write import render

    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(render(report, "md") + "\n")
    except OSError as error:
        raise click.UsageError(f"--summary: cannot write {path}: {error.strerror}") from error
