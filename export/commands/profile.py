"""`fuseport profile`: time models and saved files side by side, with the method in the figure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .model_options import model_options, own, source_of
from .report_option import REPORT, write_reports

if TYPE_CHECKING:
    from ..page.write import Target
    from ..profile.profiling import Asked


def _sizes(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, ...]:
    """`1,4,16` as numbers."""
    sizes = text.split(",") if text else []
    if not all(size.strip().isdecimal() and int(size) > 0 for size in sizes):
        raise click.UsageError(f"--throughput takes batch sizes as in 1,4,16; got {text!r}")
    return tuple(dict.fromkeys(int(size) for size in sizes))


TERMS = (
    click.option("--threads", type=click.IntRange(1), default=1, metavar="N", help="Threads that compute (1)."),
    click.option("--batch", type=click.IntRange(1), default=1, metavar="N", help="Pictures in one call (1)."),
    click.option("--warmup", type=click.IntRange(1), default=3, metavar="N", help="Calls before the first sample (3)."),
    click.option(
        "--interval",
        type=click.FloatRange(0, 100),
        default=2.0,
        metavar="PERCENT",
        help="Measure until every median is known to within this (2); 0 uses up the time.",
    ),
    click.option(
        "--confidence",
        type=click.FloatRange(50, 99.9),
        default=95.0,
        metavar="PERCENT",
        help="Of that interval (95).",
    ),
    click.option(
        "--samples", type=click.IntRange(1), default=20, metavar="N", help="Of each at least, however slow (20)."
    ),
    click.option(
        "--time-limit",
        type=click.FloatRange(0, 86400),
        default=10.0,
        metavar="SECONDS",
        help="For the samples of one batch size, all contestants together (10).",
    ),
    click.option("--throughput", callback=_sizes, metavar="N,N,…", help="Pictures per second at these batch sizes."),
    click.option("--memory", is_flag=True, help="Peak memory of each, in a process of its own."),
    click.option("--per-operator", "operators", is_flag=True, help="Where the time of a call goes, by module."),
    click.option("--roofline", is_flag=True, help="What this machine could do at best, and how far each is from it."),
)
"""What is measured and for how long: the options of this command alone."""


def _terms(function: Any) -> Any:
    for option in reversed(TERMS):
        function = option(function)
    return function


@click.command("profile")
@click.argument("subjects", nargs=-1, metavar="VARIANT|FILE…")
@click.option("--backend", "backends", multiple=True, metavar="NAME", help="Engine to run on; may be repeated.")
@_terms
@model_options
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--quiet", is_flag=True, help="Print errors only.")
@REPORT
def command(
    subjects: tuple[str, ...],
    backends: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    targets: Sequence[Target],
    **options: Any,
) -> int:
    """Time models and saved files by turns on this machine, until their medians are known.

    Models are named as in `fuseport list`, with options of their own behind a colon; files end in .onnx or
    .mlpackage. The first one that runs is what the others are compared with. A machine that is too restless gets
    UNRELIABLE for an answer, not a winner.

    \b
    fuseport profile shvit_s1 shvit_s1.onnx --backend torch --backend torch-folded --backend ort-cpu
    fuseport profile shvit_s1.onnx --throughput 1,4,16 --per-operator --roofline --report html
    """
    from .. import terminal
    from ..given import given
    from ..profile.profile_report import profile_json
    from ..profile.profiling import profile
    from .profile_tables import print_report

    if options["model"]:
        subjects = (own(options["model"]), *subjects)
    if not subjects:
        raise click.UsageError("nothing to time: give variants, files, or your own model with --model FILE.py:NAME")
    try:
        named = [given(text, source_of(text, options)) for text in subjects]
        with terminal.progress(show=not quiet and not as_json) as announce:
            report = profile(named, _asked(backends, options), announce)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    told = profile_json(report)
    if as_json:
        click.echo(told, nl=False)
    elif not quiet:
        print_report(report)
    write_reports(json.loads(told), targets, Path(), f"{Path(subjects[0]).stem}.profile")
    if report.ran:
        return 0
    for reason in dict.fromkeys(told.reason for told in report.failures.values()):
        click.echo(f"error: nothing ran: {reason}", err=True)
    return 1


def _asked(backends: tuple[str, ...], options: dict[str, Any]) -> Asked:
    from ...validate.measure import Plan
    from ..profile.profiling import Asked

    plan = Plan(
        bound=options["interval"] / 100,
        confidence=options["confidence"] / 100,
        warmup=options["warmup"],
        min_samples=options["samples"],
        max_seconds=options["time_limit"],
        seed=options["seed"],
    )
    same = {name: options[name] for name in ("threads", "batch", "throughput", "memory", "operators", "roofline")}
    return Asked(backends=backends, plan=plan, **same)
