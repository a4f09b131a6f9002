"""Write a report in the formats asked for, each file whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..atomic import staging
from . import FORMATS
from .source import page_of


@dataclass(frozen=True)
class Target:
    """A format of `FORMATS`, and where the file goes; None stands for NAME.report.SUFFIX in the run's folder."""

    format: str
    path: Path | None = None


def target(text: str) -> Target:
    """`html` or `html=out/page.html` as a Target. Raises ValueError for anything else."""
    name, equals, path = text.partition("=")
    if name not in FORMATS or (equals and not path):
        known = ", ".join(FORMATS)
        raise ValueError(f"--report takes FORMAT or FORMAT=FILE, with FORMAT one of {known}; got {text!r}")
    if path and (Path(path).is_dir() or not Path(path).parent.is_dir()):
        what = "a folder" if Path(path).is_dir() else "in a folder that does not exist"
        raise ValueError(f"--report {text}: {path} is {what}; name a file to write")
    return Target(name, Path(path) if path else None)


def write(report: dict[str, Any], targets: Sequence[Target], folder: Path, stem: str) -> list[Path]:
    """Write the report (its JSON form) to each target; the paths that were written.

    Raises NotAReport for a report of no known form, NotWritten where a file cannot be written.
    """
    texts = [render(report, one.format) for one in targets]
    written = []
    for one, text in zip(targets, texts, strict=True):
        path = one.path or folder / f"{stem}.report{FORMATS[one.format]}"
        with staging(path) as (staged,):
            staged.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def remove_stale(targets: Sequence[Target], folder: Path, stem: str) -> list[Path]:
    """Remove the pages that an earlier run left beside a report that is now another one; those that were removed.

    A page that `write` makes anew stays, and so does a file of such a name that fuseport did not write.
    """
    kept = {one.path or folder / f"{stem}.report{FORMATS[one.format]}" for one in targets}
    names = (folder / f"{stem}.report{suffix}" for form, suffix in FORMATS.items() if form != "json")
    stale = [path for path in names if path not in kept and path.is_file() and b"fuseport" in path.read_bytes()]
    for path in stale:
        path.unlink()
    return stale


def render(report: dict[str, Any], form: str) -> str:
    """The report as the text of one format."""
    page = page_of(report)
    if form == "json":
        return json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    from . import html, junit, markdown

    writers = {"html": html.render, "md": markdown.render, "junit": junit.render}
    return writers[form](page)
