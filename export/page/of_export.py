"""The page of an export: what was made, whether it computes the same, how fast it is, where its cost lies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .blocks import (
    Bar,
    Bars,
    Block,
    Cell,
    Fact,
    Facts,
    Fold,
    Measure,
    Page,
    Section,
    Table,
    Text,
    Treemap,
    tone_of,
)
from .figures import count, growth, many, megabytes, milliseconds, short
from .of_folding import folding
from .of_latency import latency
from .of_parity import cases, parity, tightest

SCHEMA = "fuseport.report/1"
Report = dict[str, Any]


def page(report: Report) -> Page:
    """The page of a report of the schema `fuseport.report/1`; KeyError or TypeError where it is no such report."""
    return Page(
        kind="export report",
        title=report["variant"],
        subtitle=f"{report['family']} · {_weights(report['weights'])} · export id {report['export_id']}",
        verdict=report["outcome"],
        tone=tone_of(report["outcome"]),
        reason=report["reason"],
        facts=tuple(_headlines(report)),
        sections=tuple(section for make in SECTIONS if (section := make(report)).blocks),
        cases=tuple(cases(report["results"])),
        footer=f"fuseport {report['fuseport']} · {report['schema']} · {_versions(report)}",
    )


def _headlines(report: Report) -> Iterator[Fact]:
    before, after = report["folded"]["before"], report["folded"]["after"]
    files = [result["artifact"] for result in report["results"]]
    yield Fact(count(len(files)), "file" if len(files) == 1 else "files", " · ".join(f["format"] for f in files))
    if closest := tightest(report["results"]):
        yield Fact(*closest)
    yield Fact(short(after["parameters"]), "parameters", f"{short(sum(after['macs'].values()))} MACs per picture")
    fewer = after_over(before, after)
    yield Fact(
        f"{_nodes(before)} → {_nodes(after)}",
        "operators",
        f"{growth(fewer)}, {many(len(report['folded']['rewrites']), 'rewrite')}",
    )
    timed = report["latencies"]
    if "PyTorch" in timed and len(timed) > 1:
        name = min(timed, key=lambda runner: timed[runner]["median_ms"])
        times = timed["PyTorch"]["median_ms"] / timed[name]["median_ms"]
        yield Fact(milliseconds(timed[name]["median_ms"]), f"median of {name}", f"PyTorch takes {times:.1f} times that")


def after_over(before: Report, after: Report) -> float | None:
    nodes = _nodes(before)
    return _nodes(after) / nodes - 1 if nodes else None


def _nodes(cost: Report) -> int:
    return sum(cost["operators"].values())


def _weights(weights: Report) -> str:
    seed = f", seed {weights['seed']}" if weights.get("seed") is not None else ""
    return f"weights: {weights['source']}, {weights['kind']}{seed}"


def _versions(report: Report) -> str:
    return ", ".join(f"{name} {number}" for name, number in report["versions"].items())


def _files(report: Report) -> Section:
    files = [result["artifact"] for result in report["results"]]
    rows = tuple(
        (
            Cell(made["path"], code=True),
            made["precision"],
            count(sum(made["operations"].values())),
            megabytes(made["bytes"]),
            Cell(made["sha256"][:12], code=True),
        )
        for made in files
    )
    table = Table(("file", "precision"), ("operations", "size", "sha256"), rows)
    folds = tuple(Fold(f"Inputs, outputs and operations of {made['path']}", tuple(_inside(made))) for made in files)
    return Section("Files", "What was written, opened again from the disk, and checked.", (table, *folds))


def _inside(made: Report) -> Iterator[Block]:
    tensors = [(kind, spec) for kind in ("inputs", "outputs") for spec in made[kind]]
    rows = tuple(
        (kind[:-1], Cell(spec["name"], code=True), " × ".join(map(str, spec["shape"])), spec["dtype"], spec["kind"])
        for kind, spec in tensors
    )
    yield Table(("", "name", "shape", "type", "kind"), (), rows)
    yield Facts(tuple((name.replace("_", " "), _value(value)) for name, value in made["details"].items()))
    by_count = sorted(made["operations"].items(), key=lambda pair: (-pair[1], pair[0]))
    yield Bars(tuple(Bar(name, "", amount, count(amount)) for name, amount in by_count))
    modules = tuple(
        (Cell(name, code=True), Cell(path or "(root)", code=True)) for name, path in made["modules"].items()
    )
    yield Fold(
        f"The PyTorch module of each of {many(len(modules), 'value')}",
        (Table(("value in the file", "module"), (), modules),),
    )


def _value(value: object) -> str:
    """A JSON value in words."""
    if isinstance(value, list):
        return ", ".join(map(_value, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_value(inner)}" for key, inner in value.items()) or "none"
    return {True: "yes", False: "no", None: "–"}.get(value, str(value)) if value in (True, False, None) else str(value)


def _coverage(report: Report) -> Section:
    bars, texts = [], []
    for result in report["results"]:
        name, covered = result["artifact"]["path"], result["coverage"]
        if "not_run" in covered:
            texts.append(Text(f"{name}: {covered['not_run']}", "unsure"))
            continue
        for what, seen, total, blind in (
            ("trainable tensors", "seen", "total", "blind"),
            ("norm statistics", "statistics_seen", "statistics_total", "statistics_blind"),
        ):
            if covered[total]:
                bars.append(_seen(name, what, covered[seen], covered[total]))
            if covered[blind]:
                rows = tuple((Cell(tensor, code=True),) for tensor in covered[blind])
                title = f"{name}: {many(len(rows), 'blind tensor')} among the {what}"
                texts.append(Fold(title, (Table(("tensor",), (), rows),)))
    lead = (
        "For every weight tensor: if all its values were wrong, would an output have left its bound? "
        "A check is blind to those for which none would."
    )
    return Section("What the checks can see", lead, ((Bars(tuple(bars), full=1.0),) if bars else ()) + tuple(texts))


def _seen(name: str, what: str, seen: int, total: int) -> Bar:
    return Bar(what, name, seen / total, f"{seen:,} of {total:,}", tone="good" if seen == total else "unsure")


def _cost(report: Report) -> Section:
    modules = report.get("modules", [])
    measures = tuple(
        Measure(name, unit, tuple((row["path"], row[key]) for row in modules if row[key]))
        for name, unit, key in (("MACs", "MACs", "macs"), ("Parameters", "parameters", "parameters"))
    )
    drawn = tuple(measure for measure in measures if measure.amounts)
    lead = "Each area is one module of the folded model, as large as its part of the whole."
    return Section("Where the cost lies", lead, (Treemap(drawn),) if drawn else ())


def _made(report: Report) -> Section:
    stages = report["stages"]
    bars = Bars(tuple(Bar(stage["name"], "", stage["seconds"], f"{stage['seconds']:.1f} s") for stage in stages))
    weights = {key: value for key, value in report["weights"].items() if value not in (None, [])}
    folds = tuple(
        Fold(title, (Facts(tuple((key.replace("_", " "), _value(value)) for key, value in told.items())),))
        for title, told in (
            ("What a caller must do to a picture", report["contract"]),
            ("What was asked for", report["request"]),
            ("Where the weights come from", weights),
            ("Versions", report["versions"]),
        )
    )
    return Section("How it was made", "The time of each stage of this run.", (bars, *folds))


SECTIONS = (_files, parity, _coverage, latency, _cost, folding, _made)
"""In the order of the page: a section of your own is one more function from a report to a Section."""
