"""`fuseport diff`: what differs between two saved files, and why one should be faster."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .model_options import FILE
from .report_option import REPORT, write_reports

if TYPE_CHECKING:
    from rich.console import Console

    from ..diff.answers import Answers
    from ..diff.compare import Change, Difference, Side
    from ..diff.weights import WeightDifference
    from ..page.write import Target

MOST = 12
"""Rows of a table, without --verbose."""


@click.command("diff")
@click.argument("a", type=FILE)
@click.argument("b", type=FILE)
@click.option(
    "--no-run", "run", is_flag=True, flag_value=False, default=True, help="Compare the files without running them."
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, metavar="N", help="Seed of the inputs that both are run on (0)."
)
@click.option("--verbose", is_flag=True, help="Every row of every table.")
@click.option("--exit-code", "by_exit", is_flag=True, help="Exit with 1 if anything differs, as git diff does.")
@REPORT
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--quiet", is_flag=True, help="Print errors only.")
def command(
    a: Path,
    b: Path,
    run: bool,
    seed: int,
    verbose: bool,
    by_exit: bool,
    targets: Sequence[Target],
    as_json: bool,
    quiet: bool,
) -> None:
    """What differs between two saved files, .onnx or .mlpackage each, of any tools.

    First why one should be faster or smaller, counted, the weightiest reason first; then every part that differs:
    interface, preprocessing, operators, modules, settings, precision, weights by what they hold, metadata, and how
    far apart their answers are on the same inputs. The exit code is 0, with --exit-code 1 if anything differs.

    \b
    fuseport diff mine.mlpackage theirs.mlpackage
    fuseport diff before.onnx after.onnx --exit-code --quiet
    """
    from ..diff.compare import diff
    from ..report import report_json

    try:
        found = diff(a, b, run=run, seed=seed)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    text = report_json(found)
    write_reports(json.loads(text), targets, Path(), b.stem)
    if as_json:
        click.echo(text, nl=False)
    elif not quiet:
        _print(found, sys.maxsize if verbose else MOST)
    if by_exit and not found.same:
        sys.exit(1)


def _print(found: Difference, most: int) -> None:
    from ..terminal import console

    out = console()
    _print_sides(out, found.a, found.b)
    if found.same:
        byte = " byte for byte" if found.a.sha256 == found.b.sha256 else ", but for names inside the files"
        out.print(f"the same{byte}")
    if found.reasons:
        out.print("which file it speaks for, counted and not measured, weightiest first:")
    for reason in found.reasons:
        out.print(f"  {reason.favours or '–'}  {reason.text}", markup=False)
    for title in ("file", "interface", "preprocessing", "operators", "precision"):
        _print_changes(out, title, getattr(found, title), most)
    _print_modules(out, found, most)
    for title in ("settings", "metadata"):
        _print_changes(out, title, getattr(found, title), most)
    _print_weights(out, found.weights, most)
    _print_answers(out, found)


def _print_sides(out: Console, a: Side, b: Side) -> None:
    from rich.markup import escape

    from ..terminal import table

    rows = table("", "a", "b", left=("",))
    rows.add_row("file", escape(a.path), escape(b.path))
    rows.add_row("sha256", a.sha256[:12], b.sha256[:12])
    for name, key in (
        ("operations", "operations"),
        ("numbers in weights", "parameters"),
        ("MACs", "macs"),
        ("bytes of weights", "weight_bytes"),
        ("bytes of activations", "activation_bytes"),
        ("bytes on the disk", "bytes"),
    ):
        rows.add_row(name, *(_count(getattr(side.totals, key)) for side in (a, b)))
    out.print(rows)


def _count(value: int | None) -> str:
    return "not counted" if value is None else f"{value:,}"


def _print_changes(out: Console, title: str, changes: Sequence[Change], most: int) -> None:
    from rich.markup import escape

    from ..terminal import table

    if not changes:
        return
    rows = table(title, "a", "b", left=(title, "a", "b"))
    for change in changes[:most]:
        rows.add_row(*(escape(_short(text)) for text in (change.what, change.a or "–", change.b or "–")))
    out.print(rows)
    _print_rest(out, len(changes), most)


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}…"


def _print_rest(out: Console, count: int, most: int) -> None:
    if count > most:
        out.print(f"and {count - most} more (--verbose)", style="dim")


def _print_modules(out: Console, found: Difference, most: int) -> None:
    from rich.markup import escape

    from ..terminal import table

    if not found.modules:
        return
    rows = table("module", "operators, a → b", "MACs a", "MACs b", left=("module", "operators, a → b"))
    for module in sorted(found.modules, key=lambda one: -abs(one.macs[0] - one.macs[1]))[:most]:
        told = ", ".join(f"{change.what} {change.a or 0} → {change.b or 0}" for change in module.operators)
        rows.add_row(escape(module.module or "(none)"), told, *(f"{macs:,}" for macs in module.macs))
    out.print(rows)
    _print_rest(out, len(found.modules), most)


def _print_weights(out: Console, weights: WeightDifference, most: int) -> None:
    from rich.markup import escape

    from ..terminal import table

    counts = {
        how: [pair for pair in weights.pairs if pair.how == how] for how in ("equal", "rounded", "permuted", "changed")
    }
    told = [f"{len(pairs)} {how}" for how, pairs in counts.items() if pairs]
    renamed = sum(pair.a != pair.b for pair in weights.pairs)
    told += [f"{len(lone)} in {name} alone" for name, lone in (("a", weights.only_a), ("b", weights.only_b)) if lone]
    out.print(f"weights: {', '.join(told) or 'none'}; {renamed} under another name")
    apart = sorted(counts["changed"] + counts["permuted"], key=lambda pair: -(pair.distance or 0))
    if apart:
        rows = table(
            "weight in a", "in b", "shape", "how", "relative distance", left=("weight in a", "in b", "shape", "how")
        )
        for pair in apart[:most]:
            shapes = " / ".join(dict.fromkeys("×".join(map(str, shape)) for shape in (pair.shape_a, pair.shape_b)))
            distance = "–" if pair.distance is None else f"{pair.distance:.1e}"
            rows.add_row(escape(pair.a), escape(pair.b), shapes, pair.how, distance)
        out.print(rows)
        _print_rest(out, len(apart), most)
    for name, lone in (("a", weights.only_a), ("b", weights.only_b)):
        for one in lone[:most]:
            out.print(f"  only in {name}: {one.name} {one.dtype} {'×'.join(map(str, one.shape))}", markup=False)
        _print_rest(out, len(lone), most)


def _print_answers(out: Console, found: Difference) -> None:
    from ..artifact import NotRun

    if isinstance(found.answers, NotRun):
        out.print(f"answers not compared: {found.answers.reason}", markup=False, style="yellow")
    else:
        _print_distances(out, found.answers)


def _print_distances(out: Console, answers: Answers) -> None:
    from rich.markup import escape

    from ..terminal import table

    rows = table("answers to the same inputs", "max abs", "rel. L2", "top-1", left=("answers to the same inputs",))
    for output in answers.outputs:
        figures = ((output.max_abs, ".1e"), (output.relative_l2, ".1e"), (output.top1, ".0%"))
        rows.add_row(escape(output.name), *("–" if value is None else format(value, form) for value, form in figures))
    out.print(rows)
    engines = " and ".join(dict.fromkeys(answers.engines))
    out.print(f"{answers.samples} seeded samples, seed {answers.seed}, run by {engines}", style="dim")
