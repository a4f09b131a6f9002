"""What a run says to people: one line per stage while it works, and a summary of tables when it is done."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .artifact import NotRun

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ..validate.latency import Latency
    from .proof.check import Check
    from .recheck.drift import Watched
    from .recheck.recheck import CheckReport
    from .report import Checked, ExportReport

WIDTH = 116
VERDICT_STYLES = {"passed": "green", "failed": "bold red", "not judged": "yellow", "not checked": "yellow"}


@contextmanager
def progress(*, show: bool) -> Iterator[Callable[[str], None]]:
    """A function to call with each stage as it begins: a spinner on a terminal, plain lines elsewhere, on stderr."""
    if not show:
        yield lambda stage: None
    elif not sys.stderr.isatty():
        yield lambda stage: print(f"{stage} …", file=sys.stderr, flush=True)  # noqa: T201
    else:
        from rich.console import Console

        with Console(stderr=True).status("starting …") as status:
            yield lambda stage: status.update(f"{stage} …")


def console() -> Console:
    """Standard output; never so narrow that a table loses figures."""
    from rich.console import Console

    out = Console(highlight=False, soft_wrap=True)
    out.width = max(out.width, WIDTH)
    return out


def summary(report: ExportReport) -> None:
    """Print what was folded, converted, proven and measured."""
    out = console()
    out.print(f"[bold]{report.variant}[/] ({report.family}), weights: {report.weights.describe()}")
    _print_folding(out, report)
    out.print(_files(report))
    out.print(parity_table(report.results))
    _print_reasons(out, report)
    if report.latencies:
        out.print(_latency(report))
        print_verdict(out, report.latencies)
    out.print(" · ".join(f"{stage.name} {stage.seconds:.1f} s" for stage in report.stages), style="dim")
    style = VERDICT_STYLES[report.outcome]
    out.print(f"[{style}]{report.outcome}[/]: {report.reason}")


def check_summary(report: CheckReport) -> None:
    """Print what each file was held against, how it came out, and where a failure comes from."""
    out = console()
    for result in report.results:
        made = result.artifact
        out.print(f"[bold]{made.path}[/] ({made.precision}, sha256 {made.sha256[:12]}) against {result.against}")
        out.print(parity_table([result]))
        for check in result.checks:
            out.print(f"{check.engine}: {check.parity.reason}", markup=False)
        for note in result.notes:
            out.print(f"note: {note}", style="yellow", markup=False)
        for finding in result.findings:
            out.print(f"{finding.stage}: {finding.what}", style="bold red", markup=False)
    if report.watched is not None:
        _print_drifts(out, report.watched)
    style = VERDICT_STYLES[report.outcome]
    out.print(f"[{style}]{report.outcome}[/]: ", end="")
    out.print(report.reason, markup=False)


def _print_drifts(out: Console, watched: Watched) -> None:
    if not watched.drifts:
        out.print(f"baseline {watched.baseline}: every file is as it was accepted", markup=False)
    for drift in watched.drifts:
        style = "green" if watched.accepted else "bold red"
        verb = "accepted in" if watched.accepted else "drifted from"
        out.print(f"{drift.artifact} {verb} {watched.baseline}:", style=style, markup=False)
        for change in drift.changes:
            out.print(f"  {change.what}: {change.old} → {change.new}", markup=False)


def _print_folding(out: Console, report: ExportReport) -> None:
    folded = report.folded
    rules = ", ".join(f"{count} × {rule}" for rule, count in Counter(step.rule for step in folded.rewrites).items())
    worst = max((step.error for step in folded.rewrites), default=0.0)
    out.print(
        f"folded: {rules or 'nothing'}; batch norms {folded.before.batch_norms} → {folded.after.batch_norms}, "
        f"operators {folded.before.nodes} → {folded.after.nodes}, "
        f"parameters {folded.before.parameters:,} → {folded.after.parameters:,}; "
        f"largest float64 error of a rewrite {worst:.0e}, of the whole {folded.error:.0e}"
    )
    for refusal in folded.refusals[:5]:
        out.print(f"  not folded: {refusal.where}: {refusal.reason}", style="yellow")
    if len(folded.refusals) > 5:
        out.print(f"  and {len(folded.refusals) - 5} more in the report", style="yellow")


def table(*columns: str, left: tuple[str, ...]) -> Table:
    """An empty table; columns named in `left` hold text, the others numbers."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE, pad_edge=False)
    for column in columns:
        made.add_column(column, justify="left" if column in left else "right", no_wrap=column == "variant")
    return made


def _files(report: ExportReport) -> Table:
    rows = table("file", "precision", "operations", "MB", "sha256", left=("file",))
    for result in report.results:
        made = result.artifact
        megabytes = f"{made.bytes / 1e6:.2f}"
        rows.add_row(
            str(report.folder / made.path.name), made.precision, str(made.operation_count), megabytes, made.sha256[:12]
        )
    return rows


def parity_table(results: Sequence[Checked]) -> Table:
    """A row for each output on each engine."""
    figures = ("max abs", "rel. L2", "floor", "cosine", "SNR dB", "top-1", "top-5")
    rows = table("engine", "output", *figures, "verdict", left=("engine", "output", "verdict"))
    for result in results:
        for check in result.checks:
            for row in _parity_rows(check):
                rows.add_row(*row)
    return rows


def _parity_rows(check: Check) -> Iterator[tuple[str, ...]]:
    if isinstance(check.parity, NotRun):
        yield (check.engine, *[""] * 8, _styled("not checked"))
        return
    for output in check.parity.outputs:
        ranks = output.ranking
        yield (
            check.engine,
            output.name,
            _number(output.max_abs, ".1e"),
            _number(output.relative_l2, ".1e"),
            _number(output.floor, ".1e"),
            _number(output.cosine, ".8f"),
            _number(output.snr_db, ".1f"),
            _number(ranks.top1 if ranks else None, ".0%"),
            _number(ranks.top5 if ranks else None, ".0%"),
            _styled(output.verdict),
        )


def _styled(verdict: str) -> str:
    return f"[{VERDICT_STYLES[verdict]}]{verdict}[/]"


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _print_reasons(out: Console, report: ExportReport) -> None:
    for result in report.results:
        for check in result.checks:
            out.print(f"{check.engine}: {check.parity.reason}", markup=False)
    if report.mixed_precision is not None:
        out.print(f"precision: {report.mixed_precision.describe()}", markup=False)
    for told in report.static_form:
        out.print(f"static form: {told}", markup=False)
    for result in report.results:
        covered = result.coverage
        told = covered.reason if isinstance(covered, NotRun) else covered.describe()
        out.print(f"coverage of {result.artifact.path.name}: {told}", markup=False)


def _latency(report: ExportReport) -> Table:
    figures = ("median ms", "interval", "p90 ms", "min ms", "samples", "warm-up", "threads")
    rows = table("runner", *figures, left=("runner",))
    for name, taken in report.latencies.items():
        times = (f"{taken.median_ms:.2f}", interval_of(taken), f"{taken.p90_ms:.2f}", f"{taken.min_ms:.2f}")
        rows.add_row(name, *times, str(taken.samples), str(taken.warmup), str(taken.threads))
    return rows


def interval_of(taken: Latency) -> str:
    """The interval of a median, in milliseconds."""
    return f"{taken.low_ms:.2f}–{taken.high_ms:.2f}"


def print_verdict(out: Console, latencies: Mapping[str, Latency]) -> None:
    """Who is faster, or why nobody is called so."""
    from ..validate.race import verdict

    found = verdict(latencies)
    if found.outcome == "unreliable":
        out.print(f"[bold red]UNRELIABLE[/]: {found.reason}")
    elif found.outcome != "nothing to compare":
        out.print(f"{f'fastest: {found.winner}' if found.winner else 'no winner'}; {found.reason}", markup=False)
