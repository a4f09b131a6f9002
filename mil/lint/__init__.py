"""Rules of Apple's Neural Engine that can be read from a saved file, each with its public source. Nothing is executed.

Where a program runs is Core ML's own decision, and no rule foretells it: a finding is a hazard that a source names, and
no finding is no promise. What depends on the values that flow is not looked at; parity checks are for that.

A rule is a row in the table of its file; a file of rules is one name in `_FILES`.
"""

from __future__ import annotations

from collections.abc import Iterator

from . import attention, compression, convolution, defects, extent, layout, limits, operators, precision
from .program import Program, Tensor
from .rule import CHIPS, LEVELS, Level, Place, Rule
from .sources import Source

_FILES = (precision, extent, operators, layout, convolution, attention, limits, compression, defects)
RULES: tuple[Rule, ...] = tuple(rule for file in _FILES for rule in file.RULES)


def findings(program: Program, chip: int) -> Iterator[tuple[Rule, Place]]:
    """Every place where a rule applies; `chip` is the oldest generation the program is to run on, a value of CHIPS."""
    for rule in RULES:
        for place in rule.find(program, chip):
            yield rule, place


__all__ = ["CHIPS", "LEVELS", "RULES", "Level", "Place", "Program", "Rule", "Source", "Tensor", "findings"]
