"""`fuseport doctor`: does the installed stack work, and if not, what to do."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import click

MARKS = {
    "works": ("ok", "green"),
    "broken": ("BROKEN", "bold red"),
    "missing": ("-", "yellow"),
    "advice": ("note", "yellow"),
}


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.option("--quiet", is_flag=True, help="Print errors only.")
def command(as_json: bool, quiet: bool) -> None:
    """Try the installed packages: a tiny model is captured, folded, written in each format, run, and compared.

    Exit code 0: nothing is broken, and at least one format works; 1: otherwise. Each fault comes with its fix.
    """
    from .. import terminal
    from ..doctor import diagnose

    with terminal.progress(show=not (as_json or quiet)) as announce:
        announce("try the installed packages")
        diagnosis = diagnose()
    if as_json:
        click.echo(json.dumps(asdict(diagnosis), indent=2))
    elif not quiet:
        out = terminal.console()
        out.print(diagnosis.system, markup=False)
        for one in diagnosis.found:
            mark, style = MARKS[one.state]
            out.print(f"[{style}]{mark:>6}[/]  [bold]{one.probe}[/]: ", end="")
            out.print(one.told, markup=False)
            if one.fix:
                out.print(f"        → {one.fix}", markup=False)
    broken = [one for one in diagnosis.found if one.state == "broken"]
    for one in broken:
        click.echo(f"error: {one.probe}: {one.told}; {one.fix or 'install it again'}", err=True)
    if not diagnosis.works and not broken:
        click.echo('error: no format can be written here; pip install "fuseport[onnx,coreml]"', err=True)
    sys.exit(0 if diagnosis.works else 1)
