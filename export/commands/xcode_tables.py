"""Several performance reports as tables for a terminal, and how their figures are written.

Texts come out of foreign files: these tables are printed by a console without markup.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ...validate.xcode.compare import Cell, Difference
from ...validate.xcode.gate import FAIL, NOISY, PASS, Verdict
from ...validate.xcode.report import Report
from ...validate.xcode.store import Row

STYLES = {PASS: "green", FAIL: "bold red", NOISY: "yellow"}
UNIT_NAMES = {"ane": "Neural Engine", "gpu": "GPU", "cpu": "CPU"}


def title(report: Report, variant: str | None = None) -> str:
    """What was measured, on what: one line without anything personal."""
    where = ", ".join(filter(None, (report.device.model or "unknown device", report.device.os)))
    return f"{variant or report.model.name or report.source.name} on {where} ({report.config.units or 'units unknown'})"


def report_rows(rows: Sequence[Row]) -> Table:
    """One row per stored report."""
    table = plain_table(
        left=("id", "ran", "model", "device", "OS", "units"),
        right=("n", "predict ms", "p95 ms", "apart", "cold load ms", "ANE cost", "switches"),
    )
    for row in rows:
        table.add_row(*report_cells(row))
    return table


def report_cells(row: Row) -> tuple[str, ...]:
    """A stored report's row, as texts."""
    return (
        row.sha256[:8],
        (row.ran_at or row.imported_at)[:10],
        row.subject,
        row.device or "",
        row.os or "",
        row.units or "",
        number(row.predictions),
        milliseconds(row.predict_median),
        milliseconds(row.predict_p95),
        percent(row.predict_spread),
        milliseconds(row.load_uncached),
        percent(row.ane_share),
        number(row.switches),
    )


def matrix_table(cells: Sequence[Cell]) -> RenderableType:
    """One row per subject × device × OS × units, with the newest report's figures."""
    table = plain_table(
        left=("model", "device", "OS", "units"),
        right=("predict ms", "p95 ms", "cold load ms", "ANE cost", "reports", "median of medians", "apart"),
    )
    for cell in cells:
        table.add_row(*matrix_cells(cell))
    heading = "Figures of the newest report of each row; apart: slowest over fastest report median"
    return titled(heading, table)


def matrix_cells(cell: Cell) -> tuple[str, ...]:
    """A row of the matrix, as texts."""
    times = (cell.newest.predict_median, cell.newest.predict_p95, cell.newest.load_uncached)
    return (
        *(cell.subject, cell.device, cell.os, cell.units),
        *map(milliseconds, times),
        *(percent(cell.newest.ane_share), number(cell.reports), milliseconds(cell.median_of_medians)),
        percent(cell.spread),
    )


def difference_page(difference: Difference, before: str, after: str, top: int) -> RenderableType:
    """Two reports: what else differs, the times, and every operation that moved, is new, or is gone."""
    table = plain_table(left=("metric",), right=("before", "after", "change", ""))
    for t in difference.timings:
        change = "" if t.growth is None else f"{t.growth:+.1%}"
        table.add_row(f"{t.metric} ms", milliseconds(t.before), milliseconds(t.after), change, t.outcome)
    table.add_row("Neural Engine's part of the cost", *map(percent, difference.ane_share))
    table.add_row("switches between units", *map(number, difference.switches))
    table.add_row("model size in bytes", *map(number, difference.bytes))
    lines = list(_changes(difference))
    more = [f"and {len(lines) - top} more; --top shows them"] if len(lines) > top else []
    cautions = [Text(f"differs as well: {caution}", style="yellow") for caution in difference.cautions]
    operations = [Text(line) for line in lines[:top] + more]
    return Group(Text(f"before: {before}"), Text(f"after:  {after}"), *cautions, table, *operations)


def _changes(difference: Difference) -> Iterator[str]:
    for move in difference.moves:
        op = move.operation
        yield f"{move.kind}: {op.name} ({op.type}), {unit_name(move.before)} → {unit_name(move.after)}"
    for word, operations in (("new", difference.new), ("gone", difference.gone)):
        yield from (f"{word}: {op.name} ({op.type}), {unit_name(op.unit)}" for op in operations)


def verdict_table(heading: str, verdicts: Sequence[Verdict]) -> RenderableType:
    """One row per rule."""
    table = plain_table(left=("verdict", "rule", "measured"))
    for verdict in verdicts:
        table.add_row(Text(verdict.outcome, style=STYLES[verdict.outcome]), verdict.rule, verdict.reason)
    return titled(heading, table)


def plain_table(left: Sequence[str], right: Sequence[str] = ()) -> Table:
    """An empty table with columns of texts, then columns of figures."""
    table = Table(show_edge=False, pad_edge=False)
    for column in left:
        table.add_column(column)
    for column in right:
        table.add_column(column, justify="right")
    return table


def titled(heading: str, table: Table) -> RenderableType:
    """A table under a line that may be wider than it."""
    return Group(Text(heading, style="bold"), table, "")


def unit_name(unit: str | None) -> str:
    """A compute unit as a reader says it."""
    return UNIT_NAMES.get(unit or "", unit or "no unit")


def milliseconds(seconds: float | None) -> str:
    """Four significant digits, without an exponent for anything a person measures."""
    if seconds is None:
        return ""
    value = seconds * 1e3
    return f"{value:.0f}" if value >= 1e4 else f"{value:.4g}"


def percent(share: float | None) -> str:
    """A part of one as a percentage; nothing for None."""
    return "" if share is None else f"{share:.1%}"


def number(value: int | None) -> str:
    """A count with its thousands apart; nothing for None."""
    return "" if value is None else f"{value:,}"
