"""The page of an imported performance report: times, placement on compute units, and where the cost lies.

It reads the form that `validate.xcode.view` makes; several reports make one page that compares them first.
"""

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
    Spread,
    Spreads,
    Step,
    Strip,
    Table,
    Text,
    Traces,
    Treemap,
)
from .figures import NONE, count, many, percent, seconds

SCHEMA = "fuseport.performance.view/1"
SEVERAL = "fuseport.xcode.import/1"
View = dict[str, Any]

UNITS = {"ane": "Neural Engine", "gpu": "GPU", "cpu": "CPU"}
STAGES = {
    "predict": "prediction",
    "load.uncached": "load, uncached",
    "load.cached": "load, cached",
    "load.all": "load",
    "compile": "compile",
    "warmup": "warm-up",
}
"""In the order of the page."""

STATISTICS = {"median": 1, "mean": 1, "min": 1, "max": 1, "p90": 10, "p95": 20, "p99": 100, "first": 1}
"""Columns, and the samples below which a column stays empty: p95 of 9 samples is the slowest one by another name."""


def page(view: View) -> Page:
    """The page of one report."""
    return Page(
        kind="performance report",
        title=_subject(view),
        subtitle=_where(view),
        verdict="measured",
        tone="plain",
        reason=_how(view),
        facts=tuple(_headlines(view)),
        sections=tuple(section for make in SECTIONS if (section := make(view)).blocks),
        cases=(_case(view),),
        footer=f"{view['source']['name']} · sha256 {view['source']['sha256'][:12]} · {view['schema']}",
    )


def page_of_several(imported: View) -> Page:
    """The page of an import: that of its report if it has one; else a comparison, then each report."""
    views, errors = imported["reports"], imported["errors"]
    if len(views) == 1 and not errors:
        return page(views[0])
    comparison = Section(
        "How fast is each?",
        "Time of one prediction, all on one axis; the samples are those of the reports.",
        tuple(_together(views)),
    )
    failed = Section("What could not be read", "", tuple(Text(line, "bad") for line in errors))
    each = tuple(Section(_title(view), _how(view), tuple(_folded(view))) for view in views)
    return Page(
        kind="performance reports",
        title=" · ".join(dict.fromkeys(map(_subject, views))) or "nothing imported",
        subtitle=" · ".join(dict.fromkeys(map(_where, views))),
        verdict="failed" if errors else "measured",
        tone="bad" if errors else "plain",
        reason=f"{many(len(errors), 'file')} could not be read" if errors else many(len(views), "report"),
        facts=(),
        sections=tuple(section for section in (comparison, failed, *each) if section.blocks),
        cases=(*map(_case, views), *(Case("import", line[:80], "failed", line) for line in errors)),
        footer=f"{many(len(views), 'report')} · {imported['schema']}",
    )


def _together(views: list[View]) -> Iterator[Block]:
    rows = tuple(spread for view in views if (spread := _spread(view, "predict", _title(view))))
    if rows:
        yield Spreads(rows)
    figures = tuple(
        (
            _title(view),
            *(seconds(_statistic(view, "predict", name)) for name in ("median", "p95")),
            seconds(_statistic(view, "load.uncached", "median")),
            _on_neural_engine(view),
            count(view["placement"]["switches"]) if view["placement"] else NONE,
        )
        for view in views
    )
    if figures:
        columns = ("prediction", "p95", "load, uncached", "cost on Neural Engine", "switches")
        yield Table(("report",), columns, figures)


def _folded(view: View) -> Iterator[Block]:
    yield from (block for block in _placement(view).blocks if isinstance(block, Strip))
    for make in SECTIONS:
        section = make(view)
        if section.blocks:
            yield Fold(section.title, ((Text(section.lead),) if section.lead else ()) + section.blocks)


def _subject(view: View) -> str:
    return (view["join"] or {}).get("variant") or view["model"]["name"] or view["source"]["name"]


def _where(view: View) -> str:
    device = ", ".join(filter(None, (view["device"]["model"] or "unknown device", view["device"]["os"])))
    return f"{device} · compute units: {view['config']['units'] or 'unknown'}"


def _title(view: View) -> str:
    return f"{_subject(view)}, {_where(view)}"


def _how(view: View) -> str:
    told = [f"ran {view['ran_at'].replace('T', ' ')}" if view["ran_at"] else "ran at an unknown time"]
    told += [text for text in (view["model"]["kind"], view["model"]["compute_precision"]) if text]
    if join := view["join"]:
        told.append(f"joined to {join['source']}, match {join['match']['level']}")
    return " · ".join(told)


def _headlines(view: View) -> Iterator[Fact]:
    n = view["statistics"].get("predict", {}).get("n")
    if (median := _statistic(view, "predict", "median")) is not None:
        yield Fact(seconds(median), "median prediction", many(n, "sample") if n else "")
    if (upper := _statistic(view, "predict", "p95")) is not None and (n or 0) >= STATISTICS["p95"]:
        yield Fact(
            seconds(upper), "p95 of the predictions", f"first one {seconds(_statistic(view, 'predict', 'first'))}"
        )
    for stage in ("load.uncached", "load.all"):
        if (load := _statistic(view, stage, "median")) is not None:
            yield Fact(seconds(load), STAGES[stage])
            break
    if placement := view["placement"]:
        yield Fact(_on_neural_engine(view), "of the cost on the Neural Engine", "by Core ML’s own weights")
        yield Fact(count(placement["switches"]), "switches of unit", f"in {many(placement['dispatched'], 'operation')}")


def _on_neural_engine(view: View) -> str:
    units = (view["placement"] or {"units": ()})["units"]
    return percent(next((unit["placed_share"] for unit in units if unit["unit"] == "ane"), None))


def _statistic(view: View, stage: str, name: str) -> float | None:
    return view["statistics"].get(stage, {}).get(name)


def _times(view: View) -> Section:
    """Distributions of what has samples, all statistics, and the course of the predictions."""
    known = [stage for stage in STAGES if stage in view["stages"]]
    shown = [stage for stage in known if stage != "load.all" or "load.uncached" not in known]
    rows = tuple(_statistics(view, stage) for stage in shown)
    prediction = _spread(view, "predict", "prediction")
    others = tuple(spread for stage in shown[1:] if (spread := _spread(view, stage, STAGES[stage])))
    blocks: list[Block] = [Spreads((prediction,))] if prediction else []
    if rows:
        blocks.append(Table(("",), ("n", *STATISTICS, "iterations apart"), rows))
    if prediction:
        blocks.append(Fold("The predictions in the order in which they ran", (Traces((prediction,)),)))
    if others:
        blocks.append(Fold("Loading and compiling", (Spreads(others),)))
    return Section("How fast is it?", "", tuple(blocks))


def _statistics(view: View, stage: str) -> tuple[str, ...]:
    known = view["statistics"].get(stage, {})
    n = known.get("n") or 0
    cells = (seconds(known.get(name)) if n >= least else "" for name, least in STATISTICS.items())
    return (STAGES[stage], count(n), *cells, percent(view["iterations"].get(stage, {}).get("spread")))


def _spread(view: View, stage: str, label: str) -> Spread | None:
    samples = tuple(sample * 1e3 for sample in view["stages"].get(stage, {}).get("samples", ()))
    if not samples:
        return None
    known = view["statistics"][stage]
    high = ("p95", known["p95"] * 1e3) if len(samples) >= STATISTICS["p95"] else None
    return Spread(label, many(len(samples), "sample"), samples, known["median"] * 1e3, high)


def _placement(view: View) -> Section:
    """The strip along the program, the counts per unit, and the borders."""
    placement = view["placement"]
    if not placement:
        return Section("Where does it run?", "", ())
    total = placement["weight_total"]
    units = tuple((unit["unit"], unit_name(unit["unit"])) for unit in placement["units"])
    steps = tuple(
        Step(op["name"], op["type"], op.get("unit"), tuple(op.get("eligible", ())), _share(op.get("weight"), total))
        for op in view["operations"]
    )
    borders = placement["borders"]
    folds = (Fold(f"Where the unit changes: {many(len(borders), 'border')}", (_borders(borders),)),) if borders else ()
    lead = f"The {many(placement['dispatched'], 'operation')} in program order, in the lane of the unit that runs each."
    return Section("Where does it run?", lead, (Strip(units, steps), _units(placement["units"]), *folds))


def _share(weight: float | None, total: float) -> float | None:
    return weight / total if weight is not None and total > 0 else None


def _units(units: list[View]) -> Table:
    columns = ("runs here", "of cost", "could run here", "of cost", "not allowed", "incompatible", "not stated")
    keys = ("eligible_elsewhere", "eligible_elsewhere_share", "not_allowed", "incompatible", "unstated")
    rows = tuple(
        (
            unit_name(unit["unit"]) + (f" ({unit['status']})" if unit["status"].startswith("not") else ""),
            *(count(unit["placed"]), percent(unit["placed_share"])),
            *(percent(unit[key]) if key.endswith("share") else count(unit[key]) for key in keys),
        )
        for unit in units
    )
    return Table(("unit",), columns, rows)


def _borders(borders: list[View]) -> Table:
    rows = tuple(
        tuple(
            cell
            for side in ("before", "after")
            for cell in (unit_name(border[side]["unit"]), Cell(border[side]["name"], code=True), border[side]["type"])
        )
        for border in borders
    )
    return Table(("from", "last operation", "type", "to", "first operation", " type"), (), rows)


def unit_name(unit: str | None) -> str:
    """A compute unit as a reader says it."""
    return UNITS.get(unit or "", unit or "no unit")


def _cost(view: View) -> Section:
    """By PyTorch module where the report is joined to an export, else by operator type."""
    joined = bool(view["join"])
    times = list(zip(_paths(view), view["operation_seconds"], strict=True))
    weights = list(zip(_paths(view), (op.get("weight") for op in view["operations"]), strict=True))
    measures = (
        Measure("Time", "µs", _summed([(path, time and time * 1e6) for path, time in times])),
        Measure("Cost", "", _summed(weights)),
    )
    drawn = tuple(measure for measure in measures if measure.amounts)
    tables = [Fold("By operator type", (_rows("type", view["cost"]["by_type"]),))] if view["cost"]["by_type"] else []
    what = "PyTorch module" if joined else "operation, grouped by its type (join an export to see modules)"
    lead = f"Each area is one {what}. Times are {view['cost']['method']}."
    return Section("Where the cost lies", lead, (*([Treemap(drawn)] if drawn else []), *tables))


def _paths(view: View) -> list[str]:
    if join := view["join"]:
        return ["(no module found)" if path is None else path for path in join["modules"]]
    return [f"{op['type']}.{op['name'].replace('.', '_')}" for op in view["operations"]]


def _summed(pairs: list[tuple[str, float | None]]) -> tuple[tuple[str, float], ...]:
    sums: dict[str, float] = {}
    for path, amount in pairs:
        if amount:
            sums[path] = sums.get(path, 0.0) + amount
    return tuple(sums.items())


def _rows(key: str, rows: list[View]) -> Table:
    made = tuple(
        (
            Cell(row["key"], code=True),
            ", ".join(map(unit_name, row["units"])),
            count(row["operations"]),
            percent(row["share"]),
            seconds(row["seconds"]),
        )
        for row in rows
    )
    return Table((key, "units"), ("operations", "of cost", "time"), made)


def _published(view: View) -> Section:
    """What the authors published of the same variant, and how their method differs."""
    found = view["published"]
    if not found:
        return Section("", "", ())
    published = found["published"]
    bars = Bars(
        (
            Bar("published", f"{published['device']}, {published['os']}", published["milliseconds"], published["text"]),
            Bar("here", _where(view), found["seconds"] * 1e3, seconds(found["seconds"])),
        )
    )
    differs = tuple(Text(f"Differs: {difference}") for difference in found["differences"])
    lead = f"Source: {published['source']}."
    return Section(f"Beside what was published for {published['variant']}", lead, (bars, *differs))


def _about(view: View) -> Section:
    """Facts, warnings and notes, and what the file does not tell."""
    rows = [(name.replace("_", " "), f"{value:,.10g}") for name, value in view["facts"].items()]
    rows += [("size of the model", f"{count(view['model']['bytes'])} bytes")] if view["model"]["bytes"] else []
    rows += [(kind, f["description"]) for kind in ("inputs", "outputs") for f in view["model"][kind]]
    rows += [(name, version) for name, version in view["model"]["versions"].items()]
    blocks: list[Block] = [Text(f"Warning: {warning}", "unsure") for warning in view["warnings"]]
    blocks += [Text(f"Note: {note}") for note in view["notes"]]
    blocks += [Facts(tuple(rows))] if rows else []
    blocks += [Text(f"The file does not tell: {'; '.join(view['unknowns'])}.")] if view["unknowns"] else []
    return Section("About this report", "", tuple(blocks))


def _case(view: View) -> Case:
    figures = [
        (f"{stage}.{name}", f"{value:.9g}")
        for stage, known in view["statistics"].items()
        for name, value in known.items()
        if value is not None
    ]
    return Case(_where(view), _subject(view), "passed", "imported", tuple(figures))


SECTIONS = (_times, _placement, _cost, _published, _about)
"""In the order of the page: a section of your own is one more function from a view to a Section."""
