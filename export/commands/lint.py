"""`fuseport lint`: hazards of the Neural Engine that can be read from a saved package, each with its public source."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .model_options import FILE
from .report_option import REPORT, write_reports

if TYPE_CHECKING:
    from rich.console import Console

    from ..lint import Finding, LintReport, PackageLint
    from ..page.write import Target

LEVELS = ("error", "warning", "info")
STYLES = {"error": "bold red", "warning": "yellow", "info": "dim"}
PLACES = 5
"""Places that are named for a rule, without --verbose."""


@click.command("lint")
@click.argument("packages", nargs=-1, type=FILE, metavar="PACKAGE…")
@click.option(
    "--chip",
    type=click.Choice(("A13", "A14", "A15", "A16")),
    default="A13",
    help="The oldest chip that is meant: A13 (iPhone 11, M1), A14 (M2), A15 (M3), A16 and later (M4, M5).",
)
@click.option(
    "--fail-on",
    type=click.Choice((*LEVELS, "never")),
    default="error",
    help="Exit with 1 from this level on [default: error].",
)
@click.option("--waivers", "waiver_file", type=FILE, metavar="FILE.toml", help="Findings to accept, with reasons.")
@click.option("--rules", "list_rules", is_flag=True, help="List every rule with what its sources say, and stop.")
@click.option("--verbose", is_flag=True, help="Name every place, and what the rules' sources say.")
@REPORT
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--quiet", is_flag=True, help="Print errors only.")
def command(
    packages: tuple[Path, ...],
    chip: str,
    fail_on: str,
    waiver_file: Path | None,
    list_rules: bool,
    verbose: bool,
    targets: Sequence[Target],
    as_json: bool,
    quiet: bool,
) -> None:
    """Hold saved Core ML packages, of any tool, against what is publicly known of Apple's Neural Engine.

    A finding is a hazard that its source names. Where a program runs is Core ML's decision: nothing here promises it.

    \b
    fuseport lint shvit_s4.mlpackage
    fuseport lint *.mlpackage --chip A15 --fail-on warning --waivers lint.toml
    """
    from ..lint import lint, rule_views
    from ..report import report_json
    from ..waivers import read_waivers

    if list_rules:
        _print_rules(as_json=as_json)
        return
    if not packages:
        raise click.UsageError("name a .mlpackage to look at, or give --rules")
    try:
        waivers = read_waivers(waiver_file, {rule.name for rule in rule_views()}) if waiver_file else ()
        report = lint(packages, chip=chip, waivers=waivers)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    text = report_json(report)
    write_reports(json.loads(text), targets, Path(), packages[0].stem)
    if as_json:
        click.echo(text, nl=False)
    elif not quiet:
        _print(report, verbose=verbose)
    if fail_on != "never" and report.fails(fail_on):  # type: ignore[arg-type]
        sys.exit(1)


def _print(report: LintReport, *, verbose: bool) -> None:
    from ..terminal import console

    out = console()
    for package in report.packages:
        _print_package(out, package, report, verbose=verbose)
    for waiver in report.unused_waivers:
        out.print(f"unused waiver: {waiver.rule} at {waiver.where} ({waiver.reason})", style="yellow", markup=False)


def _print_package(out: Console, package: PackageLint, report: LintReport, *, verbose: bool) -> None:
    from rich.markup import escape

    grouped: dict[str, list[Finding]] = defaultdict(list)
    for finding in package.findings:
        if not finding.waived:
            grouped[finding.rule].append(finding)
    waived = sum(bool(finding.waived) for finding in package.findings)
    kept = f", {waived} waived" if waived else ""
    counts = {level: sum(one.level == level for found in grouped.values() for one in found) for level in LEVELS}
    told = ", ".join(f"{count} {level}" for level, count in counts.items())
    out.print(f"[bold]{escape(package.path)}[/]: {package.operations} operations, from {report.chip} on: {told}{kept}")
    for rule in sorted(report.rules, key=lambda rule: LEVELS.index(rule.level)):
        if found := grouped.get(rule.name):
            wasted = sum(one.wasted_bytes for one in found)
            cost = f", {wasted:,} bytes wasted, all tensors together" if wasted else ""
            out.print(f"\n[{STYLES[rule.level]}]{rule.level}[/] [bold]{rule.name}[/] × {len(found)}{cost}")
            _print_places(out, found, len(found) if verbose else PLACES)
            out.print(f"  {rule.says}", markup=False)
            out.print(f"  instead: {rule.remedy}", markup=False)
            if rule.mended_by:
                out.print(f"  in fuseport: {rule.mended_by}", markup=False)
            for source in rule.sources:
                out.print(f"  source: {source.url} ({source.standing})", markup=False, style="dim")


def _print_places(out: Console, found: Sequence[Finding], most: int) -> None:
    """The places that waste most first."""
    ordered = sorted(found, key=lambda one: -one.wasted_bytes)
    for one in ordered[:most]:
        where = " ".join(filter(None, (one.module or one.name, one.operator)))
        cost = f" ({one.wasted_bytes:,} bytes)" if one.wasted_bytes else ""
        out.print(f"  · {where}: {one.message}{cost}", markup=False)
    if len(ordered) > most:
        out.print(f"  · and {len(ordered) - most} more (--verbose names them)", markup=False)


def _print_rules(*, as_json: bool) -> None:
    from dataclasses import asdict

    from ..lint import rule_views
    from ..terminal import console

    rules = rule_views()
    if as_json:
        click.echo(json.dumps([asdict(rule) for rule in rules], indent=2, ensure_ascii=False))
        return
    out = console()
    for rule in rules:
        out.print(f"[{STYLES[rule.level]}]{rule.level}[/] [bold]{rule.name}[/]")
        out.print(f"  {rule.says}\n  instead: {rule.remedy}", markup=False)
        for source in rule.sources:
            out.print(f"  source: {source.title}, {source.url} ({source.standing})", markup=False, style="dim")
