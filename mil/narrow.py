"""Runs a float32 program as it would run with some of its operations in float16, without converting it again.

coremltools turns an operation into a float16 one by casting its inputs, and its results back. So here: what a narrow
operation reads (weights among it) is rounded to float16, it computes in float32, its results are rounded. Between two
narrow operations that is one rounding, as in the file; where a wide one gives to a narrow one, the cast overflows as it
would there. A finite constant beyond the range is stored as float16's largest number, a small one never as zero.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from .arithmetic import arithmetic
from .interpreter import Interpreter, Watch
from .model import Model
from .steps import Step, run_operator
from .values import delivered, prepared

LARGEST = float(torch.finfo(torch.float16).max)
SMALLEST = 2.0**-24
"""The least number above zero that float16 can tell from zero."""

KEPT_FROM_ZERO = 400
"""From this size on coremltools lets small values of a constant become zero."""

WIDE = frozenset({"cast", "while_loop", "cond", "make_list", "list_gather", "list_scatter", "list_read", "list_write"})
"""Operations that coremltools never makes narrow."""


class Narrowing(Interpreter):
    """A float32 model, of which each run makes other operations narrow. Its weights are held once, in float32."""

    def __init__(self, model: Model) -> None:
        super().__init__(model.function, arithmetic("declared"))
        self._interface, self._narrow = model.interface, frozenset[str]()

    def predict(self, inputs: Mapping[str, Any], narrow: Collection[str], watch: Watch | None = None) -> dict[str, Any]:
        """The outputs by name, the operations named in `narrow` (by their first result) in float16.

        `watch` sees each result. Raises InputError and ExecutionError as `Model.predict` does.
        """
        self._narrow = frozenset(narrow)
        values = prepared(inputs, self._interface, self.function, self.arithmetic, allow_nan=False)
        return delivered(self.run(values, watch), self._interface, self.arithmetic)

    def _results(self, step: Step, arguments: dict[str, Any]) -> list[Any]:
        if step.operation.name not in self._narrow or step.operation.type in WIDE:
            return run_operator(step, arguments)
        rounded = {key: _each(value, _constant if key in step.fixed else _half) for key, value in arguments.items()}
        return [_each(value, _half) for value in run_operator(step, rounded)]


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, (tuple, list)):
        return type(value)(_each(inner, change) for inner in value)
    return change(value)


def _half(value: Any) -> Any:
    if isinstance(value, Tensor) and value.dtype == torch.float32:
        return value.half().float()
    return value


def _constant(value: Any) -> Any:
    """A constant as a float16 file stores it."""
    if isinstance(value, float):
        return float(_constant(torch.tensor(value, dtype=torch.float32)))
    if not (isinstance(value, Tensor) and value.dtype == torch.float32):
        return value
    bounded = torch.where(value.isinf(), value, value.clamp(-LARGEST, LARGEST)).half().float()
    return (
        torch.where((bounded == 0) & (value != 0), value.sign() * SMALLEST, bounded) if value.numel() < 400 else bounded
    )
