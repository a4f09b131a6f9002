"""The page of `fuseport diff`: two saved files, why one should be faster, and every part in which they differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .blocks import Block, Case, Cell, Fact, Fold, Page, Section, Table, Text
from .figures import count, error, many, megabytes, percent, short

SCHEMA = "fuseport.diff/1"
PARTS = ("file", "interface", "preprocessing", "operators", "precision", "settings", "metadata")
LONG = 12
"""A part of more rows is folded."""

View = dict[str, Any]


def page(view: View) -> Page:
    """Two files; what differs is told as the second beside the first."""
    a, b = (view[side]["name"] for side in ("a", "b"))
    reasons = view["reasons"]
    differ = [part for part in PARTS if view[part]] + ([] if _equal(view["weights"]) else ["weights"])
    told = (
        "they differ in nothing but names inside the files" if view["same"] else f"they differ in {', '.join(differ)}"
    )
    return Page(
        kind="diff",
        title=b if a != b else view["b"]["path"],
        subtitle=f"compared with {a if a != b else view['a']['path']}",
        verdict="the same" if view["same"] else "different",
        tone="good" if view["same"] else "unsure",
        reason=told if differ or view["same"] else "their answers differ",
        facts=tuple(_facts(view)),
        sections=(_totals(view), *([_reasons(reasons)] if reasons else []), *_parts(view), *_answers(view["answers"])),
        cases=tuple(_cases(view)),
        footer=view["schema"],
    )


def _equal(weights: View) -> bool:
    return not weights["only_a"] and not weights["only_b"] and all(pair["how"] == "equal" for pair in weights["pairs"])


def _facts(view: View) -> Iterator[Fact]:
    first, second = view["a"]["totals"], view["b"]["totals"]
    yield Fact(short(second["macs"]), "MACs", f"{short(first['macs'])} in a")
    yield Fact(count(second["operations"]), "operations", f"{count(first['operations'])} in a")
    yield Fact(megabytes(second["bytes"]), "on the disk", f"{megabytes(first['bytes'])} in a")


def _totals(view: View) -> Section:
    names = {"operations": "operations", "parameters": "numbers in weights", "macs": "MACs"}
    names |= {
        "weight_bytes": "bytes of weights",
        "activation_bytes": "bytes of activations",
        "bytes": "bytes on the disk",
    }
    sides = [view[side]["totals"] for side in ("a", "b")]
    rows = tuple((name, *(count(side[key]) for side in sides)) for key, name in names.items())
    files = tuple(
        (side, Cell(view[side]["path"], code=True), Cell(view[side]["sha256"][:12], code=True)) for side in "ab"
    )
    return Section("What they cost", "", (Table(("", "file", "sha256"), (), files), Table(("",), ("a", "b"), rows)))


def _reasons(reasons: list[View]) -> Section:
    rows = tuple((reason["favours"] or "–", reason["text"]) for reason in reasons)
    lead = "Counted, not measured; the weightiest reason first."
    return Section("Why one should be faster", lead, (Table(("speaks for", "because"), (), rows),))


def _parts(view: View) -> Iterator[Section]:
    for part in PARTS:
        if view[part]:
            rows = tuple((change["what"], change["a"] or "–", change["b"] or "–") for change in view[part])
            yield Section(part.capitalize(), "", (_folded(Table((part, "a", "b"), (), rows)),))
    if view["modules"]:
        rows = tuple(_module(module) for module in view["modules"])
        table = Table(("module", "operators, a → b"), ("MACs a", "MACs b"), rows)
        yield Section("Modules", "", (_folded(table),))
    yield _weights(view["weights"])


def _folded(table: Table) -> Block:
    return table if len(table.rows) <= LONG else Fold(f"All {many(len(table.rows), 'row')}", (table,))


def _module(module: View) -> tuple[str | Cell, ...]:
    told = ", ".join(f"{change['what']} {change['a'] or 0} → {change['b'] or 0}" for change in module["operators"])
    return (Cell(module["module"] or "(none)", code=True), told, *map(count, module["macs"]))


def _weights(weights: View) -> Section:
    hows = [pair["how"] for pair in weights["pairs"]]
    told = [f"{hows.count(how)} {how}" for how in dict.fromkeys(hows)]
    told += [f"{len(weights[key])} in {key[-1]} alone" for key in ("only_a", "only_b") if weights[key]]
    apart = tuple(
        (Cell(pair["a"], code=True), Cell(pair["b"], code=True), pair["how"], error(pair["distance"]))
        for pair in weights["pairs"]
        if pair["how"] in ("permuted", "changed")
    )
    blocks: list[Block] = [Text(", ".join(told) or "none")]
    if apart:
        blocks.append(_folded(Table(("weight in a", "in b", "how"), ("relative distance",), apart)))
    return Section("Weights", "Joined by what they hold, whatever their names.", tuple(blocks))


def _answers(answers: View) -> Iterator[Section]:
    if "not_run" in answers:
        yield Section("Answers", "", (Text(f"Not compared: {answers['not_run']}", "unsure"),))
        return
    rows = tuple(
        (output["name"], error(output["max_abs"]), error(output["relative_l2"]), percent(output["top1"]))
        for output in answers["outputs"]
    )
    lead = f"{answers['samples']} seeded samples, run by {' and '.join(dict.fromkeys(answers['engines']))}."
    yield Section("Answers", lead, (Table(("output",), ("max abs", "relative L2", "same first class"), rows),))


def _cases(view: View) -> Iterator[Case]:
    """One case for each part; a part that differs fails."""
    for part in PARTS:
        changes = view[part]
        told = "; ".join(f"{change['what']}: {change['a'] or '–'} → {change['b'] or '–'}" for change in changes[:LONG])
        yield Case("diff", part, "failed" if changes else "passed", told or "the same")
    same = _equal(view["weights"])
    yield Case(
        "diff", "weights", "passed" if same else "failed", "the same numbers" if same else "other numbers or forms"
    )
