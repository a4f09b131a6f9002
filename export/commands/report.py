"""`fuseport report`: show a saved report, of any kind and age, as a page, for a pull request, or for a build server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .report_option import REPORT, write_reports

if TYPE_CHECKING:
    from ..page.write import Target


@click.command("report")
@click.argument("saved", metavar="FILE", type=click.Path(path_type=Path))
@REPORT
def command(saved: Path, targets: Sequence[Target]) -> None:
    """Render a saved report: what export-model wrote, or what profile and xcode printed with --json.

    Without --report an HTML page is written beside FILE.

    \b
    fuseport report shvit_s4.report.json
    fuseport report shvit_s4.report.json --report md=comment.md --report junit=parity.xml
    """
    from ..page.source import read
    from ..page.write import Target

    report = read(saved)
    name = saved.name.removesuffix(".json").removesuffix(".report")
    write_reports(report, targets or [Target("html")], saved.parent, name)
