"""One performance report as a page on a terminal: what and where, timings, placement, cost, and what is not known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from ...validate.xcode.estimate import Row, by_operation, by_type, method
from ...validate.xcode.placement import NOT_ALLOWED, NOT_PRESENT, Placement, place
from ...validate.xcode.published import Beside, beside
from ...validate.xcode.report import Report
from ...validate.xcode.stage import Stage, iteration_medians, spread, statistics
from ...validate.xcode.store import Entry
from ...validate.xcode.view import modules_of
from .xcode_tables import milliseconds, number, percent, plain_table, title, titled, unit_name

STATISTICS = {"median": 1, "mean": 1, "min": 1, "max": 1, "stdev": 2, "p90": 10, "p95": 20, "p99": 100, "first": 1}
"""Columns, and the samples below which a column stays empty: p95 of 9 samples is the slowest one by another name."""
ORDER = ("load.uncached", "load.cached", "load.all", "compile", "warmup", "predict")


def report_page(entry: Entry, *, by: str, top: int, depth: int | None) -> RenderableType:
    """Everything that a reader asks first. `by` is module, type or operation: the rows of the cost table."""
    report = entry.report
    placement, published = place(report), beside(report, entry.join)
    parts: list[RenderableType] = [*_heading(entry), _timings(report)]
    if placement:
        parts += [_placements(placement), *_borders(placement, top), ""]
    if report.operations:
        by = "type" if by == "module" and not entry.join else by
        parts.append(_costs(_cost_rows(entry, by, depth), by, method(report), top))
    if published:
        parts += [*_published(published), ""]
    parts += [Text(f"{key.replace('_', ' ')}: {value:,.10g}") for key, value in report.facts.items()]
    parts += [Text(f"warning: {warning}", style="yellow") for warning in report.warnings]
    parts += [Text(f"note: {note}") for note in entry.notes]
    if report.unknowns:
        parts.append(Text("The file does not tell: " + "; ".join(report.unknowns) + ".", style="dim"))
    return Group(*parts, "")


def _heading(entry: Entry) -> Iterator[Text]:
    report, join = entry.report, entry.join
    about = [f"ran {report.ran_at or 'at an unknown time'}", report.model.kind or f"format {report.source.format}"]
    if report.model.bytes:
        about.append(f"{report.model.bytes:,} bytes")
    if report.model.compute_precision:
        about.append(f"computes in {report.model.compute_precision}")
    yield Text(f"{title(report, join.variant if join else None)}  [{report.source.sha256[:8]}]", style="bold")
    yield Text("; ".join(about))
    if join:
        found = f"module found for {join.matched} of {len(join.modules)} operations"
        unused = f"; {len(join.unused)} names of the export are not in the report" if join.unused else ""
        yield Text(
            f"joined to {join.source}: match {join.match.level} ({'; '.join(join.match.evidence)}); {found}{unused}"
        )


def _timings(report: Report) -> RenderableType:
    table = plain_table(left=("stage",), right=("n", *STATISTICS, "iteration medians"))
    mixed = {"load.all"} if "load.uncached" in report.stages else set()
    for name in sorted(report.stages.keys() - mixed, key=ORDER.index):
        stage = report.stages[name]
        known = statistics(stage)
        enough = [stage.n >= least or not stage.samples for least in STATISTICS.values()]
        cells = [milliseconds(known.get(key)) if shown else "" for key, shown in zip(STATISTICS, enough, strict=True)]
        table.add_row(name, number(stage.n) if stage.n else "", *cells, _iterations(stage))
    return titled("Time in ms", table)


def _iterations(stage: Stage) -> str:
    apart = spread(stage)
    if apart is None or (stage.per_iteration or 0) < 2:
        return ""
    return ", ".join(map(milliseconds, iteration_medians(stage))) + f" ({apart:.1%} apart)"


def _placements(placement: Placement) -> RenderableType:
    right = ("runs here", "of cost", "could run here", "of cost", "not allowed", "incompatible", "not stated")
    table = plain_table(left=("unit",), right=right)
    for unit in placement.units:
        barred = unit.status in (NOT_ALLOWED, NOT_PRESENT)
        table.add_row(
            unit_name(unit.unit) + (f" ({unit.status})" if barred else ""),
            *(number(unit.placed), percent(unit.placed_share)),
            *(number(unit.eligible_elsewhere), percent(unit.eligible_elsewhere_share)),
            *map(number, (unit.not_allowed, unit.incompatible, unit.unstated)),
        )
    constants = placement.listed - placement.dispatched
    heading = f"Placement of {placement.dispatched:,} operations ({constants:,} constants left out); "
    return titled(f"{heading}switches between units: {placement.switches:,}", table)


def _borders(placement: Placement, top: int) -> Iterator[Text]:
    for border in placement.borders[:top]:
        before, after = border.before, border.after
        units = f"{unit_name(before.unit)} → {unit_name(after.unit)}"
        yield Text(f"  {units}: {before.name} ({before.type}) → {after.name} ({after.type})")
    if len(placement.borders) > top:
        yield Text(f"  and {len(placement.borders) - top:,} more borders; --top shows them")


def _cost_rows(entry: Entry, by: str, depth: int | None) -> list[Row]:
    if by == "module":
        return modules_of(entry.report, entry.join, depth)
    return by_type(entry.report) if by == "type" else by_operation(entry.report)


def _costs(rows: Sequence[Row], by: str, how: str, top: int) -> RenderableType:
    table = plain_table(left=(by, "units"), right=("operations", "of cost", "ms"))
    shown = list(rows[:top])
    if len(rows) > top:
        shown.append(_rest(rows[top:]))
    for row in shown:
        units = ", ".join(unit_name(unit) for unit in row.units)
        table.add_row(row.key, units, number(row.operations), percent(row.share), milliseconds(row.seconds))
    return titled(f"Cost by {by}; time {how}", table)


def _rest(rows: Sequence[Row]) -> Row:
    shares, seconds = [r.share for r in rows if r.share is not None], [r.seconds for r in rows if r.seconds is not None]
    return Row(
        key=f"({len(rows):,} more)",
        operations=sum(row.operations for row in rows),
        share=sum(shares) if shares else None,
        seconds=sum(seconds) if seconds else None,
        units=(),
    )


def _published(found: Beside) -> Iterator[Text]:
    p = found.published
    here = f"here {milliseconds(found.seconds)} ms, {found.ratio:.2f} times that"
    yield Text(f"Published for {p.variant}: {p.text} on {p.device} ({p.os}); {here}", style="bold")
    yield Text(f"  source: {p.source}")
    yield from (Text(f"  differs: {difference}") for difference in found.differences)
