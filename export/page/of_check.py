"""The page of a check: how saved files compare with their model, where a failure comes from, and what has drifted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .blocks import Bar, Bars, Block, Case, Cell, Fact, Facts, Page, Section, Table, Text, tone_of
from .figures import count, many, megabytes
from .of_parity import cases, parity, tightest

SCHEMA = "fuseport.check/1"
Report = dict[str, Any]


def page(report: Report) -> Page:
    """The page of a report of the schema `fuseport.check/1`; KeyError or TypeError where it is no such report."""
    results = report["results"]
    names = [result["artifact"]["path"] for result in results]
    return Page(
        kind="parity check",
        title=names[0] if len(names) == 1 else f"{names[0]} and {many(len(names) - 1, 'other file')}",
        subtitle=" · ".join(dict.fromkeys(f"against {result['against']}" for result in results)),
        verdict=report["outcome"],
        tone=tone_of(report["outcome"]),
        reason=report["reason"],
        facts=tuple(_headlines(report)),
        sections=tuple(section for make in SECTIONS if (section := make(report)).blocks),
        cases=(*cases(results), *_drift_cases(report)),
        footer=f"fuseport {report['fuseport']} · {report['schema']} · {_versions(report)}",
    )


def _headlines(report: Report) -> Iterator[Fact]:
    results = report["results"]
    yield Fact(count(len(results)), "file" if len(results) == 1 else "files", "opened from the disk")
    if closest := tightest(results):
        yield Fact(*closest)
    if watched := report["watched"]:
        changed = len(watched["drifts"])
        yield Fact(count(changed), "drifted", f"from {watched['baseline']}{', accepted' * watched['accepted']}")


def _versions(report: Report) -> str:
    return ", ".join(f"{name} {number}" for name, number in report["versions"].items())


def _files(report: Report) -> Section:
    rows = tuple(
        (
            Cell(made["path"], code=True),
            made["precision"],
            result["against"],
            count(sum(made["operations"].values())),
            megabytes(made["bytes"]),
            Cell(made["sha256"][:12], code=True),
        )
        for result in report["results"]
        for made in (result["artifact"],)
    )
    table = Table(("file", "precision", "held against"), ("operations", "size", "sha256"), rows)
    return Section("Files", "", (table,))


def _findings(report: Report) -> Section:
    rows = tuple(
        (Cell(result["artifact"]["path"], code=True), Cell(found["stage"], "bad"), found["what"])
        for result in report["results"]
        for found in result["findings"]
    )
    notes = tuple(
        Text(f"{result['artifact']['path']}: {note}", "unsure")
        for result in report["results"]
        for note in result["notes"]
    )
    table: tuple[Block, ...] = (Table(("file", "where", "what"), (), rows),) if rows else ()
    lead = "Where the error begins: in how the input is prepared, in an output, or in a layer." if rows else ""
    return Section("Where it goes wrong" if rows else "Notes", lead, (*table, *notes))


def _drifts(report: Report) -> Section:
    watched = report["watched"]
    if watched is None:
        return Section("", "", ())
    title = f"Against {watched['baseline']}"
    if not watched["drifts"]:
        return Section(title, "", (Text("Every file is as it was accepted.", "good"),))
    rows = tuple(
        (Cell(drift["artifact"], code=True), change["what"], change["old"], change["new"])
        for drift in watched["drifts"]
        for change in drift["changes"]
    )
    lead = "What has changed since the baseline was accepted. `--update-baseline` accepts it; then commit the file."
    told = "These changes are now accepted." if watched["accepted"] else lead
    return Section(title, told, (Table(("file", "what", "was", "is"), (), rows),))


def _drift_cases(report: Report) -> Iterator[Case]:
    """One case per file for the baseline; a drift that was accepted in this run is no failure."""
    watched = report["watched"]
    if watched is None:
        return
    drifted = {drift["artifact"]: drift["changes"] for drift in watched["drifts"]}
    for name, changes in drifted.items():
        told = "; ".join(f"{one['what']} {one['old']} → {one['new']}" for one in changes)
        yield Case(f"{name}.baseline", "drift", "passed" if watched["accepted"] else "failed", told)
    if not drifted:
        yield Case(watched["baseline"], "drift", "passed", "every file is as it was accepted")


def _made(report: Report) -> Section:
    stages = report["stages"]
    bars = Bars(tuple(Bar(stage["name"], "", stage["seconds"], f"{stage['seconds']:.1f} s") for stage in stages))
    versions = Facts(tuple((name, str(number)) for name, number in report["versions"].items()))
    return Section("How it was checked", "The time of each stage of this run.", (bars, versions))


SECTIONS = (_files, _findings, parity, _drifts, _made)
"""In the order of the page."""
