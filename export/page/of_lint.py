"""The page of `fuseport lint`: what was found in each package, rule by rule, with the sources of every rule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .blocks import Block, Case, Cell, Fact, Facts, Fold, Page, Section, Table, Text, Tone
from .figures import count, many

SCHEMA = "fuseport.lint/1"
LEVELS = ("error", "warning", "info")
TONE: dict[str, Tone] = {"error": "bad", "warning": "unsure", "info": "plain"}
View = dict[str, Any]


def page(view: View) -> Page:
    """All packages of a run."""
    opened = [finding for package in view["packages"] for finding in package["findings"] if not finding["waived"]]
    counts = {level: sum(finding["level"] == level for finding in opened) for level in LEVELS}
    worst = next((level for level in LEVELS if counts[level]), None)
    verdict = "nothing found" if worst is None else many(counts[worst], worst)
    return Page(
        kind="lint",
        title=", ".join(package["name"] for package in view["packages"]),
        subtitle=f"hazards of the Neural Engine, from the {view['chip']} on",
        verdict=verdict,
        tone="good" if worst is None else TONE[worst],
        reason="hazards that public sources name; where a program runs is decided by Core ML",
        facts=tuple(Fact(count(counts[level]), level) for level in LEVELS),
        sections=(*map(_package, view["packages"]), _rules(view["rules"]), *_unused(view["unused_waivers"])),
        cases=tuple(case for package in view["packages"] for case in _cases(package, view["rules"])),
        footer=view["schema"],
    )


def _package(package: View) -> Section:
    found = package["findings"]
    rows: list[tuple[str | Cell, ...]] = []
    for name in dict.fromkeys(finding["rule"] for finding in _by_level(found)):
        own = [finding for finding in found if finding["rule"] == name]
        waived = sum(bool(finding["waived"]) for finding in own)
        level = own[0]["level"]
        wasted = sum(finding["wasted_bytes"] for finding in own)
        rows.append((name, Cell(level, TONE[level]), count(len(own) - waived), count(waived), count(wasted)))
    blocks: list[Block] = [Text("Nothing was found.", "good")]
    if rows:
        blocks = [Table(("rule", "level"), ("places", "waived", "bytes wasted"), tuple(rows)), _places(found)]
    return Section(package["name"], f"{many(package['operations'], 'operation')}.", tuple(blocks))


def _by_level(found: list[View]) -> list[View]:
    return sorted(found, key=lambda finding: LEVELS.index(finding["level"]))


def _places(found: list[View]) -> Fold:
    rows = tuple(
        (
            finding["rule"],
            Cell(finding["module"] or finding["name"], code=True),
            finding["operator"],
            finding["message"],
            finding["waived"],
            count(finding["wasted_bytes"]),
        )
        for finding in _by_level(found)
    )
    table = Table(("rule", "module or operation", "operator", "what", "waived because"), ("bytes wasted",), rows)
    return Fold(f"All {many(len(rows), 'place')}", (table,))


def _rules(rules: list[View]) -> Section:
    blocks = tuple(Fold(rule["name"], (Facts(tuple(_told(rule))),)) for rule in rules)
    return Section("What the rules say", "In words of ours; the sources are the last word.", blocks)


def _told(rule: View) -> Iterator[tuple[str, str | Cell]]:
    yield "level", Cell(rule["level"], TONE[rule["level"]])
    yield "says", rule["says"]
    yield "instead", rule["remedy"]
    if rule["mended_by"]:
        yield "in fuseport", rule["mended_by"]
    for source in rule["sources"]:
        yield source["standing"], f"{source['title']}: {source['url']}"


def _unused(waivers: list[View]) -> Iterator[Section]:
    if waivers:
        rows = tuple((waiver["rule"], Cell(waiver["where"], code=True), waiver["reason"]) for waiver in waivers)
        yield Section("Waivers that nothing needs", "", (Table(("rule", "where", "reason"), (), rows),))


def _cases(package: View, rules: list[View]) -> Iterator[Case]:
    """One case for each rule that found something; information fails nothing."""
    name = package["name"]
    if not package["findings"]:
        yield Case(name, "all rules", "passed", "nothing found")
    for rule in rules:
        own = [finding for finding in package["findings"] if finding["rule"] == rule["name"]]
        opened = [finding for finding in own if not finding["waived"]]
        if opened:
            first = opened[0]
            told = f"{many(len(opened), 'place')}, as at {first['module'] or first['name']}: {first['message']}"
            failed = rule["level"] != "info"
            yield Case(name, rule["name"], "failed" if failed else "passed", f"{told}. {rule['remedy']}")
        elif own:
            yield Case(name, rule["name"], "skipped", f"waived: {own[0]['waived']}")
