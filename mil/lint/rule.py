"""The nouns of the lint: a rule with its sources, and a place of a program where it applies.

A level says what the sources say, and nothing of how much it matters in a given app:

    error    the engine rejects it, or another unit computes it
    warning  it costs memory or time there, needs a later chip than the oldest, or was reported to give wrong results
    info     it may cost something; what it does cost depends on the compiler, or on sizes that no source gives
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from ..program import Operation
from .program import Program
from .sources import Source

Level = Literal["error", "warning", "info"]
LEVELS: tuple[Level, ...] = ("error", "warning", "info")

CHIPS = {"A13": 13, "A14": 14, "A15": 15, "A16": 16}
"""Generations of the engine: those of the A13 (and M1), A14 (M2), A15 (M3), and A16 and later (M4, M5)."""


@dataclass(frozen=True)
class Place:
    """Where a rule applies: `name` is a value of the program, or an input, or empty for the program as a whole."""

    name: str
    operator: str
    message: str
    wasted_bytes: int = 0
    """Bytes that the source says are spent for nothing; 0 where that cannot be counted from the file."""


@dataclass(frozen=True)
class Rule:
    """`find` takes the program and the oldest generation that it is to run on (see CHIPS)."""

    name: str
    level: Level
    says: str
    """What the sources say, in words of ours."""
    sources: tuple[Source, ...]
    remedy: str
    """What to write instead."""
    find: Callable[[Program, int], Iterator[Place]]
    mended_by: str = ""
    """What of fuseport mends it, exactly; empty where nothing does."""


def at(operation: Operation, message: str, wasted_bytes: int = 0) -> Place:
    """The place of an operation."""
    return Place(operation.name, operation.type, message, wasted_bytes)
