"""What was folded into what, with the proof of each rewrite: the section of an export's page."""

from __future__ import annotations

from typing import Any

from .blocks import Block, Cell, Fold, Section, Table
from .figures import count, error, growth, many

QUANTITIES = ("batch norms", "operators", "parameters", "MACs")


def folding(report: dict[str, Any]) -> Section:
    """Counts before and after, the rules that did it, and every rewrite and refusal."""
    folded = report["folded"]
    blocks: list[Block] = [_counts(folded)]
    if folded["rewrites"]:
        blocks += [_rules(folded["rewrites"]), Fold(*_rewrites(folded["rewrites"]))]
    if folded["refusals"]:
        rows = tuple(
            (refusal["rule"], Cell(refusal["where"], code=True), refusal["reason"]) for refusal in folded["refusals"]
        )
        title = f"{many(len(rows), 'place')} where a rule looked as if, but is not exact"
        blocks.append(Fold(title, (Table(("rule", "where", "why it was refused"), (), rows),)))
    lead = (
        "Each rewrite was run before and after in float64 on random data; the folded model differs from the original "
        f"by {error(folded['error'])} (relative)."
    )
    return Section("What was folded", lead, tuple(blocks))


def _counts(folded: dict[str, Any]) -> Table:
    rows = []
    for name, before, after in zip(QUANTITIES, *map(_amounts, (folded["before"], folded["after"])), strict=True):
        rows.append((name, count(before), count(after), growth(after / before - 1) if before else ""))
    return Table(("",), ("before", "after", "change"), tuple(rows))


def _amounts(cost: dict[str, Any]) -> tuple[int, ...]:
    """In the order of QUANTITIES."""
    return cost["batch_norms"], sum(cost["operators"].values()), cost["parameters"], sum(cost["macs"].values())


def _rules(rewrites: list[dict[str, Any]]) -> Table:
    errors: dict[str, list[float]] = {}
    for step in rewrites:
        errors.setdefault(step["rule"], []).append(step["error"])
    rows = tuple((rule, count(len(found)), error(max(found))) for rule, found in errors.items())
    return Table(("rule",), ("rewrites", "largest float64 error"), rows)


def _rewrites(rewrites: list[dict[str, Any]]) -> tuple[str, tuple[Block, ...]]:
    rows = tuple(
        (
            step["rule"],
            Cell(step["where"], code=True),
            "; ".join(step["before"]),
            "; ".join(step["after"]) or "nothing",
            error(step["error"]),
        )
        for step in rewrites
    )
    table = Table(("rule", "where", "before", "after"), ("float64 error",), rows)
    return f"All {many(len(rows), 'rewrite')}", (table,)
