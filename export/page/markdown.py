"""A page as Markdown for a pull request: the verdict first, figures in tables, the long ones folded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape as quote

from ...validate.xcode.verdicts import escape
from .blocks import Block, Cell, Facts, Fold, Page, Table, Text, Tone
from .tables import table_of

MARKS: dict[Tone, str] = {"good": "✅ ", "bad": "❌ ", "unsure": "⚠️ ", "plain": ""}
LONG, MOST = 12, 40
"""Rows above which a table is folded, and those that are written: a comment on GitHub holds 65,536 characters."""


def render(page: Page) -> str:
    """The page as Markdown text, in GitHub's dialect."""
    lines = [f"## {MARKS[page.tone]}{escape(page.title)}: {escape(page.verdict)}", "", escape(page.reason), ""]
    lines += [escape(page.subtitle), ""]
    if page.facts:
        facts = tuple((fact.label, fact.value, fact.note) for fact in page.facts)
        lines += [*_table(Table(("", "figure", " "), (), facts)), ""]
    for section in page.sections:
        lines += [f"### {escape(section.title)}", ""]
        lines += [escape(section.lead), ""] if section.lead else []
        for block in section.blocks:
            lines += [*_block(block), ""]
    return "\n".join([*lines, f"<sub>{escape(page.footer)}</sub>", ""])


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Text):
        yield MARKS[block.tone] + escape(block.text)
    elif isinstance(block, Facts):
        yield from (f"- {escape(name)}: {_cell(value)}" for name, value in block.rows)
    elif isinstance(block, Fold):
        yield from _folded(block.title, [line for inner in block.blocks for line in (*_block(inner), "")])
    elif table := table_of(block, MOST):
        rows = list(_table(table))
        yield from rows if len(table.rows) <= LONG else _folded(f"{len(table.rows)} rows", rows)


def _folded(title: str, lines: list[str]) -> Iterator[str]:
    yield from ("<details>", f"<summary>{quote(title, quote=False)}</summary>", "", *lines, "", "</details>")


def _table(table: Table) -> Iterator[str]:
    if table.caption:
        yield from (f"**{escape(table.caption)}**", "")
    yield _row((*table.left, *table.right))
    yield _row_of_rules(len(table.left), len(table.right))
    yield from (_row(row) for row in table.rows)


def _row(cells: tuple[str | Cell, ...]) -> str:
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _row_of_rules(left: int, right: int) -> str:
    return f"|{'---|' * left}{'---:|' * right}"


def _cell(cell: str | Cell) -> str:
    if isinstance(cell, str):
        return escape(cell)
    return _code(cell.text) if cell.code else MARKS[cell.tone] + escape(cell.text)


def _code(text: str) -> str:
    """A code span that the text cannot close: its fence is longer than any run of backticks in the text."""
    text = " ".join(text.split()).replace("|", "\\|")
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}" if text else ""
