"""What a report says, in the pieces that every format can show: texts, figures, tables and charts with their data.

A chart holds data, not drawings: HTML draws it, Markdown writes it as the table that `tables.py` makes of it. Every
text may come out of a foreign file; whoever writes a format escapes it. Times are milliseconds, shares parts of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Tone = Literal["plain", "good", "bad", "unsure"]
TONES: dict[str, Tone] = {
    **dict.fromkeys(("passed", "pass", "faster", "equal"), "good"),
    **dict.fromkeys(("failed", "fail", "slower"), "bad"),
    **dict.fromkeys(("not checked", "not judged", "too noisy", "unknown"), "unsure"),
}
"""What a verdict's word means for its colour; any other word is plain."""


def tone_of(word: str) -> Tone:
    return TONES.get(word, "plain")


@dataclass(frozen=True)
class Cell:
    """A table's cell that is more than plain text: a verdict with its tone, or a name as code."""

    text: str
    tone: Tone = "plain"
    code: bool = False


@dataclass(frozen=True)
class Table:
    """Columns of text (`left`), then columns of figures (`right`); every row has as many cells."""

    left: tuple[str, ...]
    right: tuple[str, ...]
    rows: tuple[tuple[str | Cell, ...], ...]
    caption: str = ""


@dataclass(frozen=True)
class Text:
    """One paragraph."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True)
class Facts:
    """Names and values, one line each."""

    rows: tuple[tuple[str, str | Cell], ...]


@dataclass(frozen=True)
class Bound:
    """One error beside what is allowed: all relative, None where there is no such figure."""

    label: str
    detail: str
    value: float | None
    floor: float | None
    bound: float | None
    tone: Tone
    verdict: str


@dataclass(frozen=True)
class Bounds:
    """Errors against their bounds, on a logarithmic axis."""

    rows: tuple[Bound, ...]


@dataclass(frozen=True)
class Spread:
    """The samples of one contestant, in the order in which they were taken; `high` is its upper percentile."""

    label: str
    detail: str
    samples: tuple[float, ...]
    median: float
    high: tuple[str, float] | None = None
    tone: Tone = "plain"


@dataclass(frozen=True)
class Spreads:
    """Distributions on one axis of milliseconds that begins at zero."""

    rows: tuple[Spread, ...]


@dataclass(frozen=True)
class Traces:
    """The same samples in the order in which they were taken: what a phone that grows hot looks like."""

    rows: tuple[Spread, ...]


@dataclass(frozen=True)
class Measure:
    """One way to weigh modules: (path, amount) pairs; a path's components are parted by dots. Without a unit only the
    parts of the whole mean anything."""

    name: str
    unit: str
    amounts: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Treemap:
    """The cost of each module as an area, by one of several measures."""

    measures: tuple[Measure, ...]


@dataclass(frozen=True)
class Step:
    """One operation of a program: the unit that it runs on, the units that could run it, its part of the cost."""

    name: str
    kind: str
    unit: str | None
    could: tuple[str, ...]
    share: float | None


@dataclass(frozen=True)
class Strip:
    """A program's operations in order, in one lane per compute unit (key, name)."""

    units: tuple[tuple[str, str], ...]
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Bar:
    """One amount with its text; `mark` is a second amount on the same axis."""

    label: str
    detail: str
    value: float
    text: str
    mark: float | None = None
    tone: Tone = "plain"


@dataclass(frozen=True)
class Bars:
    """Amounts on one axis from zero to `full` (None: the largest); `mark` names the second amount, if there is one."""

    rows: tuple[Bar, ...]
    mark: str = ""
    full: float | None = None


@dataclass(frozen=True)
class Fold:
    """Blocks that are shown on demand."""

    title: str
    blocks: tuple[Block, ...]


Block: TypeAlias = Table | Text | Facts | Bounds | Spreads | Traces | Treemap | Strip | Bars | Fold


@dataclass(frozen=True)
class Section:
    """A heading, a sentence on how to read what follows, and the blocks."""

    title: str
    lead: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Fact:
    """A headline figure: the figure, what it is, and a condition or comparison."""

    value: str
    label: str
    note: str = ""


@dataclass(frozen=True)
class Case:
    """One check, for machines. `outcome` is passed, failed or skipped; `figures` are (name, value) pairs."""

    suite: str
    name: str
    outcome: Literal["passed", "failed", "skipped"]
    reason: str
    figures: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Page:
    """A whole report: what it is about, the verdict, headline figures, sections, and the checks as cases."""

    kind: str
    title: str
    subtitle: str
    verdict: str
    tone: Tone
    reason: str
    facts: tuple[Fact, ...]
    sections: tuple[Section, ...]
    cases: tuple[Case, ...]
    footer: str
