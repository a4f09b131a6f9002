"""Runs a planned function: one step after the other, letting go of each tensor after its last use."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

import torch

from .arithmetic import Arithmetic
from .plan import Planner
from .program import Function, Operation, Variable
from .steps import BlockPlan, Step, converted, run_operator

Watch = Callable[[Operation, Variable, Any], None]
"""Sees every result as it is made: the operation, which of its results, and the value."""


class Interpreter:
    """Executes one function in one arithmetic. Weights are decoded when it is made, and kept."""

    def __init__(self, function: Function, arithmetic: Arithmetic) -> None:
        self.function, self.arithmetic = function, arithmetic
        with torch.inference_mode():
            self.plan = Planner(function.opset, arithmetic).plan(function.block)

    @torch.inference_mode()
    def run(self, values: dict[str, Any], watch: Watch | None = None, start: int = 0) -> dict[str, Any]:
        """The function's outputs by name, from its inputs (tensors in their carriers, and State).

        `values` is used up: inputs are removed from it when they are no longer needed. With `start` the first steps
        are left out; `values` must hold what they would have made. Raises ExecutionError naming the operation.
        """
        values.update(self.plan.constants)
        self._steps(self.plan, values, watch, start)
        return {name: values[name] for name in self.plan.outputs}

    @torch.inference_mode()
    def stream(self, values: dict[str, Any], wanted: Collection[str]) -> Iterator[tuple[str, Any]]:
        """Name and value of each result in `wanted` as it is made; nothing is run behind the last of them.

        `values` is used up, and ExecutionError raised, as by `run`.
        """
        values.update(self.plan.constants)
        left = set(wanted)
        made: dict[str, Any] = {}

        def watch(operation: Operation, variable: Variable, value: Any) -> None:
            if variable.name in wanted:
                made[variable.name] = value

        for step in self.plan.steps:
            if not left:
                return
            self._step(step, values, watch)
            left -= made.keys()
            yield from made.items()
            made.clear()

    def _steps(self, plan: BlockPlan, values: dict[str, Any], watch: Watch | None, start: int = 0) -> None:
        for step in plan.steps[start:]:
            self._step(step, values, watch)

    def _step(self, step: Step, values: dict[str, Any], watch: Watch | None) -> None:
        results = self._results(step, self._arguments(step, values, watch))
        for result, value in zip(step.results, results, strict=True):
            values[result.variable.name] = value
            if watch is not None:
                watch(step.operation, result.variable, value)
        for name in step.dead:
            values.pop(name, None)

    def _results(self, step: Step, arguments: dict[str, Any]) -> list[Any]:
        """The results of one operation, stored as the arithmetic wants."""
        return run_operator(step, arguments)

    def _arguments(self, step: Step, values: dict[str, Any], watch: Watch | None) -> dict[str, Any]:
        arguments = dict(step.fixed)
        for key, name in step.tensors:
            arguments[key] = values[name]
        for key, kind, names in step.others:
            arguments[key] = converted(step.operation, key, kind, tuple(values[n] for n in names))
        if step.blocks:
            arguments["blocks"] = tuple(self._callable(b, values, watch) for b in step.blocks)
        return arguments

    def _callable(self, plan: BlockPlan, outer: dict[str, Any], watch: Watch | None) -> Callable[..., list[Any]]:
        """A nested block as a function of its inputs; it sees the values around it as they are now."""

        def run(*arguments: Any) -> list[Any]:
            values = {**outer, **plan.constants}
            values.update({i.name: a for i, a in zip(plan.inputs, arguments, strict=True)})
            self._steps(plan, values, watch)
            return [values[name] for name in plan.outputs]

        return run
