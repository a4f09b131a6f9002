"""The page of a profile: who is faster, how sure that is, and where the time of a call goes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .blocks import (
    Bar,
    Bars,
    Block,
    Case,
    Cell,
    Fact,
    Facts,
    Fold,
    Measure,
    Page,
    Section,
    Step,
    Strip,
    Table,
    Text,
    Tone,
    Treemap,
)
from .figures import NONE, count, decimal, many, megabytes, milliseconds, percent
from .of_latency import UNSTEADY, latency
from .of_performance import UNITS, unit_name

SCHEMA = "fuseport.profile/1"
Report = dict[str, Any]

VERDICTS: dict[str, tuple[str, Tone]] = {
    "winner": ("fastest: {winner}", "good"),
    "no winner": ("no winner", "plain"),
    "unreliable": ("UNRELIABLE", "unsure"),
    "nothing to compare": ("measured", "plain"),
}
"""Outcome of the comparison → the page's verdict and its tone."""

VERSUS: dict[str, Tone] = {"faster than the first": "good", "slower than the first": "bad", "unreliable": "unsure"}


def page(report: Report) -> Page:
    """The page of a report of the schema `fuseport.profile/1`; KeyError or TypeError where it is no such report."""
    here, ran = report["conditions"]["machine"], _ran(report)
    verdict, tone = VERDICTS[report["verdict"]["outcome"]] if ran else ("nothing ran", "bad")
    return Page(
        kind="profile",
        title=" · ".join(dict.fromkeys(entrant["subject"] for entrant in report["entrants"])),
        subtitle=f"{here['processor']}, {many(here['cores'], 'core')} · {here['system']}",
        verdict=verdict.format(winner=report["verdict"]["winner"]),
        tone=tone,
        reason=report["verdict"]["reason"],
        facts=tuple(_headlines(ran)),
        sections=tuple(section for make in SECTIONS if (section := make(report)).blocks),
        cases=tuple(map(_case, report["entrants"])),
        footer=f"fuseport {report['fuseport']} · {report['schema']} · {report['conditions']['taken_at']}",
    )


def _ran(report: Report) -> list[Report]:
    return [entrant for entrant in report["entrants"] if not _why_not(entrant["latency"])]


def _why_not(value: Any) -> str | None:
    """The reason of a stage that could not run."""
    return value.get("not_run") if isinstance(value, dict) else None


def _said(entrant: Report, reason: str) -> list[Text]:
    """The reason, unless it is the one that stands in the first section already."""
    return [] if reason == _why_not(entrant["latency"]) else [Text(f"{entrant['name']}: {reason}", "unsure")]


def _known(entrant: Report, key: str) -> Any:
    """What was found, None where it was not asked for or could not be found."""
    return None if _why_not(entrant[key]) else entrant[key]


def _headlines(ran: list[Report]) -> Iterator[Fact]:
    for entrant in ran[:4]:
        taken = entrant["latency"]
        yield Fact(milliseconds(taken["median_ms"]), entrant["name"], f"median, {_interval(taken)}")


def _interval(taken: Report) -> str:
    low, high = (milliseconds(taken[key]) for key in ("low_ms", "high_ms"))
    return f"{taken['confidence']:.0%} interval {low} to {high}"


def _latency(report: Report) -> Section:
    ran = _ran(report)
    section = latency({"latencies": {entrant["name"]: entrant["latency"] for entrant in ran}})
    failed = tuple(
        Text(f"{entrant['name']}: {reason}", "unsure")
        for entrant in report["entrants"]
        if (reason := _why_not(entrant["latency"]))
    )
    notes = tuple(Text(f"{entrant['name']}: {entrant['note']}") for entrant in ran if entrant["note"])
    beside = (_beside_the_first(ran),) if len(ran) > 1 else ()
    return Section(
        "How fast is each?", section.lead, (*section.blocks[:1], *beside, *section.blocks[1:], *notes, *failed)
    )


def _beside_the_first(ran: list[Report]) -> Table:
    rows = tuple(
        (
            entrant["name"],
            Cell(entrant["versus"] or NONE, VERSUS.get(entrant["versus"], "plain")),
            milliseconds(entrant["load_ms"]),
            *(milliseconds(entrant["latency"][key]) for key in ("first_ms", "median_ms")),
            decimal(entrant["ratio"], 2),
        )
        for entrant in ran
    )
    return Table(("contestant", "what is shown"), ("cold load", "first call", "median", "× the first"), rows)


def _throughput(report: Report) -> Section:
    """Bars of pictures per second, grouped by batch size, and what a size did not run for."""
    bars, failed = [], []
    for entrant in report["entrants"]:
        for one in entrant["throughput"]:
            if reason := _why_not(one):
                failed += _said(entrant, reason)
            else:
                bars.append((one["batch"], _rate(entrant["name"], one)))
    drawn = tuple(bar for _, bar in sorted(bars, key=lambda pair: pair[0]))
    blocks: tuple[Block, ...] = (*([Bars(drawn)] if drawn else []), *dict.fromkeys(failed))
    lead = "Batch over median time; in brackets over the ends of its interval."
    return Section("How many pictures per second?", lead, blocks)


def _rate(name: str, one: Report) -> Bar:
    unsteady = one["latency"]["spread"] > UNSTEADY
    text = f"{one['pictures_per_s']:,.1f}/s ({one['low']:,.1f} to {one['high']:,.1f})"
    detail = f"{name}, unreliable: half of the samples spread over {percent(one['latency']['spread'])}"
    batch, tone = f"batch {one['batch']}", "unsure" if unsteady else "plain"
    return Bar(batch, detail if unsteady else name, one["pictures_per_s"], text, tone=tone)


def _memory(report: Report) -> Section:
    bars, failed = [], []
    for entrant in report["entrants"]:
        if reason := _why_not(entrant["memory"]):
            failed += _said(entrant, reason)
        elif found := entrant["memory"]:
            told = f"loading {megabytes(found['load_bytes'])}; {found['method']}"
            bars.append(Bar(entrant["name"], told, found["peak_bytes"], megabytes(found["peak_bytes"])))
    lead = "Peak over loading and three calls, each in a process of its own, above what that held with its libraries."
    return Section("How much memory?", lead, (*([Bars(tuple(bars))] if bars else []), *failed))


def _roofline(report: Report) -> Section:
    best = report["roofline"]
    if not best:
        return Section("", "", ())
    bars = tuple(
        Bar(
            entrant["name"],
            f"{found['flops_per_s'] / 1e9:,.1f} GFLOP/s; at least {milliseconds(found['bound_ms'])}, "
            f"limited by {found['limit']}",
            found["share"],
            percent(found["share"]),
        )
        for entrant in report["entrants"]
        if (found := _known(entrant, "roofline"))
    )
    lead = (
        f"This machine: {best['flops_per_s'] / 1e9:,.1f} GFLOP/s and {best['bytes_per_s'] / 1e9:,.1f} GB/s on "
        f"{many(best['threads'], 'thread')}, {best['method']}. 100 % is the least time that it needs for the counted "
        "work; an engine that fuses operators moves less than what is counted."
    )
    full = max(1.0, *(bar.value for bar in bars)) if bars else 1.0
    return Section("How far from what the machine can do?", lead, (Bars(bars, full=full),) if bars else ())


def _operators(report: Report) -> Section:
    """A treemap over modules and a table by type for each contestant whose engine tells."""
    blocks: list[Block] = []
    for entrant in report["entrants"]:
        if reason := _why_not(entrant["operators"]):
            blocks += _said(entrant, reason)
        elif found := entrant["operators"]:
            blocks += _where_the_time_goes(entrant["name"], found)
    lead = "Each area is the time of one module's operators; a profiled call is slower than a measured one."
    return Section("Where does the time go?", lead, tuple(blocks))


def _where_the_time_goes(name: str, found: Report) -> Iterator[Block]:
    operators = found["operators"]
    by_module = _summed((operator["module"] or "(no module)", operator["ms"] * 1e3) for operator in operators)
    whole = sum(operator["ms"] for operator in operators)
    yield Text(
        f"{name}: {many(len(operators), 'operator')}, {milliseconds(whole)} of a profiled call of "
        f"{milliseconds(found['call_ms'])} (mean of {many(found['calls'], 'call')}); {percent(found['joined'])} of "
        f"that time is placed in modules, which are told by {found['modules_from']}."
    )
    if by_module:
        yield Treemap((Measure("Time", "µs", by_module),))
    types = _summed((operator["type"], operator["ms"]) for operator in operators)
    rows = tuple(
        (
            Cell(kind, code=True),
            count(sum(operator["type"] == kind for operator in operators)),
            milliseconds(ms),
            percent(ms / whole),
        )
        for kind, ms in sorted(types, key=lambda pair: -pair[1])
    )
    yield Fold("By operator type", (Table(("type",), ("operators", "time", "of all"), rows),))
    slowest = tuple(
        (
            Cell(operator["name"], code=True),
            operator["type"],
            Cell(operator["module"] or NONE, code=True),
            milliseconds(operator["ms"]),
        )
        for operator in operators[:40]
    )
    yield Fold(
        f"The slowest {many(len(slowest), 'operator')}", (Table(("operator", "type", "module"), ("time",), slowest),)
    )


def _summed(pairs: Iterator[tuple[str, float]] | Any) -> tuple[tuple[str, float], ...]:
    sums: dict[str, float] = {}
    for key, amount in pairs:
        if amount > 0:
            sums[key] = sums.get(key, 0.0) + amount
    return tuple(sums.items())


def _placement(report: Report) -> Section:
    """Core ML's plan as a strip along the program."""
    blocks: list[Block] = []
    for entrant in report["entrants"]:
        if reason := _why_not(entrant["placement"]):
            blocks += _said(entrant, reason)
        elif found := entrant["placement"]:
            steps = tuple(
                Step(one["name"], one["type"], one["device"], tuple(one["supported"]), one["cost_share"])
                for one in found
            )
            units = dict.fromkeys(unit for unit in (*UNITS, *(step.unit for step in steps)) if unit)
            blocks += [Text(entrant["name"]), Strip(tuple((unit, unit_name(unit)) for unit in units), steps)]
    return Section("Where would Core ML run it?", "Its plan, operation by operation, in program order.", tuple(blocks))


def _conditions(report: Report) -> Section:
    """Everything that the figures hold for."""
    found = report["conditions"]
    here, plan = found["machine"], found["plan"]
    loads = [f"{found[key]:.2f}" for key in ("load_before", "load_after") if found[key] is not None]
    rows = (
        ("taken at", f"{found['taken_at']} (UTC)"),
        ("machine", f"{here['processor']}, {many(here['cores'], 'core')}, {here['system']}, Python {here['python']}"),
        ("memory", megabytes(here["memory_bytes"])),
        ("load average", " before, ".join(loads) + (" after" if len(loads) > 1 else "") or "not told by the system"),
        ("threads, batch", f"{found['threads']}, {found['batch']}"),
        ("order", f"one call each per round, another order every round (seed {plan['seed']})"),
        (
            "stops",
            f"when every median is known to ±{percent(plan['bound'])} at {percent(plan['confidence'])} confidence, "
            f"or after {plan['max_seconds']:g} s, with {count(plan['min_samples'])} samples each at least",
        ),
        ("warm-up", many(plan["warmup"], "call")),
        ("clock", f"adds {found['timer_ns']:,.0f} ns to a sample"),
        ("inputs", found["inputs"]),
        ("cold load", found["load"]),
        *found["versions"].items(),
    )
    return Section("Under which conditions?", "", (Facts(rows),))


def _case(entrant: Report) -> Case:
    taken = entrant["latency"]
    if reason := _why_not(taken):
        return Case(entrant["subject"], entrant["backend"], "skipped", reason)
    keys = ("median_ms", "low_ms", "high_ms", "p90_ms", "p95_ms", "p99_ms", "min_ms", "first_ms", "samples", "spread")
    figures = tuple((key, f"{taken[key]:.9g}") for key in keys if taken[key] is not None)
    return Case(entrant["subject"], entrant["backend"], "passed", entrant["versus"] or "measured", figures)


SECTIONS = (_latency, _throughput, _operators, _roofline, _memory, _placement, _conditions)
"""In the order of the page: a section of your own is one more function from a report to a Section."""
