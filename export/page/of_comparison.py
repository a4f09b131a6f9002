"""The pages of `fuseport xcode compare` and `gate`: two reports, a store's matrix, and verdicts by rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .blocks import Bar, Bars, Block, Case, Cell, Fact, Page, Section, Table, Text, Tone, tone_of
from .figures import count, growth, many, percent, seconds
from .of_performance import unit_name

DIFFERENCE, MATRIX, GATE = "fuseport.xcode.difference/1", "fuseport.xcode.matrix/1", "fuseport.xcode.gate/1"
View = dict[str, Any]


def difference(view: View) -> Page:
    """Two reports: the times beside each other, and every operation that moved, is new, or is gone."""
    outcomes = [timing["outcome"] for timing in view["timings"]]
    slower, faster = outcomes.count("slower"), outcomes.count("faster")
    verdict = "mixed" if slower and faster else "slower" if slower else "faster" if faster else "no clear difference"
    tones: dict[str, Tone] = {"mixed": "unsure", "slower": "bad", "faster": "good"}
    moved = [
        Section("What moved", "Operations that both reports have, on another unit in the second.", (_moves(view),))
        if view["moves"]
        else None,
        *(
            Section(title, "", (_operations(view[key]),)) if view[key] else None
            for title, key in (("New operations", "new"), ("Operations that are gone", "gone"))
        ),
    ]
    times = Section(
        "Times",
        "Each bar is the second report, the mark the first. Slower and faster are said only where the noise of the two "
        "does not overlap.",
        (_timings(view["timings"]), _figures(view)),
    )
    cautions = Section("What else differs", "", tuple(Text(text, "unsure") for text in view["cautions"]))
    return Page(
        kind="comparison",
        title=view.get("after") or "second report",
        subtitle=f"compared with {view.get('before') or 'the first report'}",
        verdict=verdict,
        tone=tones.get(verdict, "plain"),
        reason=f"of {len(outcomes)} measured times {slower} got slower and {faster} got faster",
        facts=tuple(_headlines(view)),
        sections=tuple(section for section in (cautions, times, *moved) if section and section.blocks),
        cases=tuple(_timing_case(timing) for timing in view["timings"]),
        footer=view["schema"],
    )


def _headlines(view: View) -> Iterator[Fact]:
    for timing in view["timings"][:2]:
        before = f"{seconds(timing['before'])} before, {growth(timing['growth'])}"
        yield Fact(seconds(timing["after"]), timing["metric"], before)
    before, after = view["ane_share"]
    yield Fact(percent(after), "of the cost on the Neural Engine", f"{percent(before)} before")
    yield Fact(count(len(view["moves"])), "operations moved", f"{len(view['new'])} new, {len(view['gone'])} gone")


def _timings(timings: list[View]) -> Bars:
    """All as parts of the larger of the two, since loads take a thousand times a prediction."""
    rows = []
    for timing in timings:
        before, after = timing["before"], timing["after"]
        largest = max(before or 0.0, after or 0.0) or 1.0
        text = f"{seconds(before)} → {seconds(after)}"
        note = " ".join(filter(None, (timing["outcome"], growth(timing["growth"]) if timing["growth"] else "")))
        mark = None if before is None else before / largest
        rows.append(Bar(timing["metric"], note, (after or 0.0) / largest, text, mark, tone_of(timing["outcome"])))
    return Bars(tuple(rows), mark="first report", full=1.0)


def _figures(view: View) -> Table:
    rows = (
        ("cost on the Neural Engine", *map(percent, view["ane_share"])),
        ("switches of unit", *map(count, view["switches"])),
        ("bytes of the model", *map(count, view["bytes"])),
    )
    return Table(("",), ("before", "after"), rows)


def _moves(view: View) -> Table:
    rows = tuple(
        (
            Cell(move["operation"]["name"], code=True),
            move["operation"]["type"],
            unit_name(move["before"]),
            unit_name(move["after"]),
            move["kind"],
        )
        for move in view["moves"]
    )
    return Table(("operation", "type", "before", "after", ""), (), rows)


def _operations(operations: list[View]) -> Table:
    rows = tuple((Cell(op["name"], code=True), op["type"], unit_name(op["unit"])) for op in operations)
    return Table(("operation", "type", "unit"), (), rows)


def _timing_case(timing: View) -> Case:
    failed = timing["outcome"] == "slower"
    text = f"{seconds(timing['before'])} → {seconds(timing['after'])}, {timing['outcome']}"
    figures = tuple((key, f"{timing[key]:.9g}") for key in ("before", "after", "growth") if timing[key] is not None)
    return Case("compare", timing["metric"], "failed" if failed else "passed", text, figures)


def matrix(view: View) -> Page:
    """All reports of a store: one row per subject, device, OS and units."""
    cells = view["cells"]
    bars = tuple(
        Bar(
            cell["subject"],
            f"{cell['device']}, {cell['os']}, {cell['units']}",
            cell["newest"]["predict_median"],
            seconds(cell["newest"]["predict_median"]),
            cell["newest"]["predict_p95"],
        )
        for cell in cells
        if cell["newest"]["predict_median"] is not None
    )
    columns = ("prediction", "p95", "load, uncached", "cost on Neural Engine", "reports", "median of medians", "apart")
    table = Table(("model", "device", "OS", "units"), columns, tuple(map(_cell, cells)))
    blocks: tuple[Block, ...] = ((Bars(bars, mark="p95"),) if bars else ()) + ((table,) if cells else ())
    lead = "The newest report of each row; “apart” is the slowest over the fastest report."
    subjects = {cell["subject"] for cell in cells}
    devices = {(cell["device"], cell["os"]) for cell in cells}
    return Page(
        kind="comparison across devices",
        title=", ".join(sorted(subjects)) if 0 < len(subjects) <= 3 else many(len(subjects), "model"),
        subtitle=f"{many(len(devices), 'device')} with OS · {many(sum(cell['reports'] for cell in cells), 'report')}",
        verdict="measured",
        tone="plain",
        reason=many(len(cells), "combination"),
        facts=(),
        sections=(Section("How fast on which device?", lead, blocks),) if blocks else (),
        cases=tuple(_matrix_case(cell) for cell in cells),
        footer=view["schema"],
    )


def _cell(cell: View) -> tuple[str, ...]:
    newest = cell["newest"]
    times = (seconds(newest[key]) for key in ("predict_median", "predict_p95", "load_uncached"))
    where = (cell[key] for key in ("subject", "device", "os", "units"))
    rest = (count(cell["reports"]), seconds(cell["median_of_medians"]), percent(cell["spread"]))
    return (*where, *times, percent(newest["ane_share"]), *rest)


def _matrix_case(cell: View) -> Case:
    newest = cell["newest"]
    figures = tuple((k, f"{v:.9g}") for k, v in newest.items() if isinstance(v, int | float))
    return Case(f"{cell['device']}, {cell['os']}, {cell['units']}", cell["subject"], "passed", "measured", figures)


def gate(view: View) -> Page:
    """Reports held against rules; what is too noisy to tell is no pass."""
    verdicts = [(report["report"], verdict) for report in view["reports"] for verdict in report["verdicts"]]
    outcomes = [verdict["outcome"] for _, verdict in verdicts]
    worst = next((word for word in ("fail", "too noisy") if word in outcomes), "pass")
    rows = tuple(
        (title, Cell(one["outcome"], tone_of(one["outcome"])), Cell(one["rule"], code=True), one["reason"])
        for title, one in verdicts
    )
    table = Table(("report", "verdict", "rule", "measured"), (), rows)
    titles = dict.fromkeys(title for title, _ in verdicts)
    return Page(
        kind="gate",
        title=next(iter(titles), "nothing judged") if len(titles) < 2 else many(len(titles), "report"),
        subtitle=many(len(verdicts), "rule") + " judged",
        verdict=worst,
        tone=tone_of(worst),
        reason=f"{outcomes.count('pass')} of {len(outcomes)} rules hold",
        facts=(),
        sections=(Section("Rules", "", (table,)),) if rows else (),
        cases=tuple(_gate_case(title, one, allow_noisy=view.get("allow_noisy", False)) for title, one in verdicts),
        footer=view["schema"],
    )


def _gate_case(title: str, verdict: View, *, allow_noisy: bool) -> Case:
    noisy = verdict["outcome"] == "too noisy"
    outcome = "passed" if verdict["outcome"] == "pass" else "skipped" if noisy and allow_noisy else "failed"
    told = f"too noisy: {verdict['reason']}" if noisy else verdict["reason"]
    figures = tuple((key, f"{verdict[key]:.9g}") for key in ("value", "limit") if verdict[key] is not None)
    return Case(title, verdict["rule"], outcome, told, figures)
