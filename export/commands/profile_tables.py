"""A profile as tables on a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ...validate.latency import Latency
from ..artifact import NotRun
from ..profile.profile_report import Conditions, Entrant, OperatorTime, OperatorTimes, Placed, ProfileReport, Throughput
from ..terminal import console, interval_of, print_verdict, table

if TYPE_CHECKING:
    from rich.table import Table

NAME = "contestant"
TOP, DEPTH = 12, 2
"""Rows of a table of operators, and how far module paths are told in it; the page and the JSON have them all."""


def print_report(report: ProfileReport) -> None:
    """Print everything that ran, what did not and why, and the verdict."""
    out = console()
    if report.ran:
        out.print(_latencies(report))
    for entrant, reason in _failures(report):
        out.print(f"✗ {entrant.name}: {reason}", markup=False)
    for rows in (_throughput(report), _memory(report), _rooflines(report)):
        if rows.row_count:
            out.print(rows)
    for entrant in report.entrants:
        if isinstance(entrant.operators, OperatorTimes):
            for rows in _operators(entrant.name, entrant.operators):
                out.print(rows)
        if isinstance(entrant.placement, tuple):
            out.print(f"{entrant.name}: {_placed(entrant.placement)}", markup=False)
    for entrant in report.entrants:
        if entrant.note and entrant.name in report.ran:
            out.print(f"{entrant.name}: {entrant.note}", markup=False)
    out.print(conditions(report.conditions), style="dim", markup=False)
    for line in (*_busy(report.conditions), *_unsettled(report)):
        out.print(line, style="yellow", markup=False)
    print_verdict(out, report.ran)


def _latencies(report: ProfileReport) -> Table:
    times = ("median ms", "interval", "p90", "p95", "p99", "min", "samples")
    rows = table(NAME, "load ms", "first ms", *times, "× first", left=(NAME,))
    for entrant in report.entrants:
        if isinstance(taken := entrant.latency, Latency):
            edges = (entrant.load_ms, taken.first_ms)
            tail = (taken.p90_ms, taken.p95_ms, taken.p99_ms, taken.min_ms)
            rows.add_row(
                entrant.name,
                *(_number(value) for value in edges),
                f"{taken.median_ms:.2f}",
                interval_of(taken),
                *(_number(value) for value in tail),
                str(taken.samples),
                f"{entrant.ratio:.2f}" if entrant.ratio is not None else "",
            )
    return rows


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}" if value < 999.5 else f"{value:,.0f}"


def _failures(report: ProfileReport) -> Iterator[tuple[Entrant, str]]:
    """Whatever was asked for and could not be done, each reason once per contestant."""
    for entrant in report.entrants:
        told = (entrant.latency, *entrant.throughput, entrant.memory, entrant.work, entrant.roofline)
        asked = (*told, entrant.operators, entrant.placement)
        yield from ((entrant, reason) for reason in dict.fromkeys(x.reason for x in asked if isinstance(x, NotRun)))


def _throughput(report: ProfileReport) -> Table:
    """Pictures per second with the interval, a column per batch size."""
    sizes = sorted({one.batch for each in report.entrants for one in each.throughput if isinstance(one, Throughput)})
    rows = table("pictures/s", *(f"batch {size}" for size in sizes), left=("pictures/s",))
    for entrant in report.entrants:
        known = {one.batch: one for one in entrant.throughput if isinstance(one, Throughput)}
        if known:
            rows.add_row(entrant.name, *(_rate(known.get(size)) for size in sizes))
    return rows


def _rate(one: Throughput | None) -> str:
    if one is None:
        return "–"
    unsure = " UNRELIABLE" if one.latency.unsteady else ""
    return f"{one.pictures_per_s:,.1f} ({one.low:,.1f}–{one.high:,.1f}){unsure}"


def _memory(report: ProfileReport) -> Table:
    rows = table("peak memory", "loading MB", "with calls MB", "process before MB", left=("peak memory",))
    for entrant in report.entrants:
        if entrant.memory is not None and not isinstance(entrant.memory, NotRun):
            found = (entrant.memory.load_bytes, entrant.memory.peak_bytes, entrant.memory.baseline_bytes)
            rows.add_row(entrant.name, *(f"{size / 1e6:,.1f}" for size in found))
    return rows


def _rooflines(report: ProfileReport) -> Table:
    """Empty where no roofline was measured."""
    best = report.roofline
    title = (
        f"roofline {best.flops_per_s / 1e9:,.1f} GFLOP/s, {best.bytes_per_s / 1e9:,.1f} GB/s" if best else "roofline"
    )
    rows = table(title, "MACs", "GFLOP/s", "limit", "least ms", "of the roofline", left=(title, "limit"))
    for entrant in report.entrants:
        work, found = entrant.work, entrant.roofline
        if work is None or found is None or isinstance(work, NotRun) or isinstance(found, NotRun):
            continue
        rates = (f"{work.macs:,}", f"{found.flops_per_s / 1e9:,.1f}", found.limit)
        rows.add_row(entrant.name, *rates, f"{found.bound_ms:.2f}", f"{found.share:.1%}")
    return rows


def _operators(name: str, found: OperatorTimes) -> Iterator[Table]:
    yield _summed(f"{name}: operator", found, lambda operator: operator.type)
    yield _summed(f"{name}: module ({found.joined:.1%} of the time placed)", found, _module)


def _module(operator: OperatorTime) -> str:
    if operator.module is None:
        return "(no module)"
    return ".".join(operator.module.split(".")[:DEPTH]) or "(itself)"


def _summed(title: str, found: OperatorTimes, key: Callable[[OperatorTime], str]) -> Table:
    sums, calls = Counter[str](), Counter(map(key, found.operators))
    for operator in found.operators:
        sums[key(operator)] += operator.ms  # pyright: ignore[reportArgumentType]
    whole = sum(sums.values()) or 1.0
    rows = table(title, "ms", "of all", "operators", left=(title,))
    for group, spent in sums.most_common(TOP):
        rows.add_row(group, f"{spent:.3f}", f"{spent / whole:.1%}", str(calls[group]))
    if rest := sums.most_common()[TOP:]:
        spent, operators = sum(one for _, one in rest), sum(calls[group] for group, _ in rest)
        rows.add_row(f"{len(rest)} others", f"{spent:.3f}", f"{spent / whole:.1%}", str(operators))
    return rows


def _placed(placement: tuple[Placed, ...]) -> str:
    """Operations per device, as Core ML plans them."""
    counted = Counter(operation.device for operation in placement)
    return "planned on " + ", ".join(f"{device} {count}" for device, count in counted.most_common())


def conditions(found: Conditions) -> str:
    """What the figures hold for, in one paragraph."""
    here, plan = found.machine, found.plan
    loads = [f"{load:.2f}" for load in (found.load_before, found.load_after) if load is not None]
    memory = f", {here.memory_bytes / 2**30:.1f} GiB" if here.memory_bytes else ""
    until = (
        f"until each median is known to ±{plan.bound:.1%} at {plan.confidence:.0%} confidence, or "
        if plan.bound
        else ""
    )
    return (
        f"{found.threads} thread{'s' * (found.threads > 1)}, batch {found.batch}; {here.processor}, {here.cores} cores"
        f"{memory}, {here.system}, Python {here.python}; load average {' → '.join(loads) or 'unknown'}; "
        f"{until}{plan.max_seconds:g} s and {plan.min_samples} samples each; {plan.warmup} warm-up calls; "
        f"inputs: {found.inputs}; cold load: {found.load}; "
        + ", ".join(f"{name} {number}" for name, number in found.versions.items())
    )


def _busy(found: Conditions) -> Iterator[str]:
    """The machine had other work before the measurement began."""
    if found.load_before is not None and found.load_before > found.machine.cores / 2:
        cores = found.machine.cores
        yield f"this machine was busy before: load average {found.load_before:.2f} on {cores} core{'s' * (cores > 1)}"


def _unsettled(report: ProfileReport) -> Iterator[str]:
    """Medians that are known less well than was asked for."""
    for name, taken in report.ran.items():
        if report.conditions.plan.bound and not taken.settled:
            width = taken.interval.half_width(taken.median_ms)
            yield f"{name}: time ran out with the median known to ±{width:.1%}; raise --time-limit"
