"""Why an operator cannot be in float16, and by how much: what it computes, beside what float16 can hold.

    overflow    a result, or something it reads, is larger than 65504
    underflow   all of a tensor is small, and part of it smaller than float16's smallest number: it becomes zero
    rounding    neither: its rounding alone is too much for this model (large numbers go in large steps)

Figures are those of the model in float32 on the check inputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from ...mil.narrow import LARGEST, SMALLEST
from ...mil.program import Operation, Variable
from .trials import Bench, Operator

Kind = Literal["overflow", "underflow", "rounding"]

LOST = 0.01
"""Share of the values of a result that may become zero before this is called the cause."""

SMALL = 2.0**-10
"""Beside larger values than this, what becomes zero was too small to matter (the weights of a softmax)."""


@dataclass(frozen=True)
class Range:
    """What lies in the results of an operator and in what it reads: the largest magnitude, and the share of values
    (zeros left out) that float16 would make zero in a tensor of small values."""

    largest: float = 0.0
    lost: float = 0.0

    @property
    def kind(self) -> Kind:
        return "overflow" if self.largest > LARGEST else "underflow" if self.lost > LOST else "rounding"

    def told(self) -> str:
        """The cause, as a clause."""
        if self.kind == "overflow":
            return f"values up to {self.largest:.3g}, {self.largest / LARGEST:.3g} x the range of float16"
        if self.kind == "underflow":
            return f"{self.lost:.0%} of its values are too small for float16 and become zero"
        step = 2.0 ** (math.frexp(self.largest)[1] - 11)
        return f"values up to {self.largest:.3g}, where float16 goes in steps of {step:.3g}"


def ranges(bench: Bench) -> dict[str, Range]:
    """Operator name → range, over all samples, the whole package in float32."""
    of_tensor: dict[str, Range] = {}
    reads: dict[str, tuple[str, ...]] = {}

    def watch(operation: Operation, variable: Variable, value: Any) -> None:
        if isinstance(value, Tensor) and value.is_floating_point():
            of_tensor[variable.name] = _joined([of_tensor.get(variable.name, Range()), _range(value)])
        reads[operation.name] = tuple(operation.reads())

    bench.run((), watch=watch)
    return {
        operator.name: _joined([of_tensor.get(name, Range()) for name in _touched(operator, reads)])
        for operator in bench.operators
    }


def _touched(operator: Operator, reads: dict[str, tuple[str, ...]]) -> list[str]:
    return [name for operation in operator.operations for name in (operation, *reads.get(operation, ()))]


def _range(value: Tensor) -> Range:
    magnitudes = value.abs()
    finite = magnitudes[torch.isfinite(magnitudes) & (magnitudes > 0)]
    if not finite.numel():
        return Range()
    largest = float(finite.max())
    return Range(largest, float((finite < SMALLEST / 2).float().mean()) if largest < SMALL else 0.0)


def _joined(found: list[Range]) -> Range:
    return Range(max(one.largest for one in found), max(one.lost for one in found))
