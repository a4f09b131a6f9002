"""From a function of the program to the steps of its execution: all that does not depend on the inputs, done once.

Constants are decoded and brought into the form that each operator wants, `constexpr_*` operators are evaluated, every
value gets its last use, so that the interpreter can let go of it there.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from torch import Tensor

from .arithmetic import Arithmetic
from .errors import UnsupportedOperator
from .ops import operator
from .ops.operator import Operator
from .program import Block, Constant, Function, Operation, Variable
from .steps import BlockPlan, Result, Step, converted, run_operator


def check_operators(function: Function) -> None:
    """Raise UnsupportedOperator when an operator, or one of its inputs, is unknown; all missing ones with a place."""
    missing: dict[str, str] = {}
    for index, operation in enumerate(function.block.walk()):
        if operation.type == "const":
            continue
        found = operator(operation.type, function.opset)
        where = f"{operation.type} at {operation.name!r} (operation {index} of function {function.name!r})"
        if found is None:
            missing.setdefault(operation.type, where)
            continue
        given = set(operation.inputs) | set(operation.attributes)
        for key in sorted(given - set(found.parameters)):
            raise UnsupportedOperator(f"{where} has an input {key!r} that its definition does not know")
        for parameter in found.parameters.values():
            if parameter.required and parameter.name not in given and parameter.name != "blocks":
                raise UnsupportedOperator(f"{where} lacks its input {parameter.name!r}")
    if missing:
        raise UnsupportedOperator("no implementation of " + "; ".join(missing.values()))


class Planner:
    """Plans the blocks of one function for one arithmetic."""

    def __init__(self, opset: int, arithmetic: Arithmetic) -> None:
        self._opset, self._arithmetic = opset, arithmetic

    def plan(self, block: Block, outer: Constants | None = None) -> BlockPlan:
        """The steps of `block`, which sees the constants of the blocks around it."""
        constants = Constants(outer)
        by_name: dict[str, Any] = {}
        running = [o for o in block.operations if not self._is_constant(o, constants)]
        dead = _last_uses(running, block.outputs)
        steps = [self._step(o, constants, by_name, tuple(d)) for o, d in zip(running, dead, strict=True)]
        by_name.update({n: constants.value(n) for n in block.outputs if n in constants})
        return BlockPlan(block.inputs, tuple(steps), block.outputs, by_name)

    def constants(self, block: Block) -> Constants:
        """The constants of `block` alone, compressed ones among them; none is decoded yet."""
        found = Constants()
        for operation in block.operations:
            self._is_constant(operation, found)
        return found

    def _is_constant(self, operation: Operation, constants: Constants) -> bool:
        """Note the results of `const` and `constexpr_*` operations in `constants`; false for any other."""
        if operation.type == "const":
            self._note_const(operation, constants)
            return True
        bound = [b for bindings in operation.inputs.values() for b in bindings if isinstance(b, str)]
        if not operation.type.startswith("constexpr_") or any(b not in constants for b in bound):
            return False
        for index, output in enumerate(operation.outputs):
            constants.add(output.name, lambda i=index: self._evaluated(operation, constants)[i])
        return True

    def _note_const(self, operation: Operation, constants: Constants) -> None:
        stored = operation.attributes.get("val")
        if stored is None or len(operation.outputs) != 1:
            raise UnsupportedOperator(f"the constant {operation.name!r} has no value")
        constants.add(operation.outputs[0].name, lambda: self._decoded(stored))

    def _decoded(self, constant: Constant) -> Any:
        value = constant.read()
        if isinstance(value, np.ndarray) and constant.type.dtype is not None:
            return self._arithmetic.constant(value, constant.type.dtype)
        return value

    def _evaluated(self, operation: Operation, constants: Constants) -> list[Any]:
        """The results of a `constexpr_*` operation."""
        step = self._step(operation, constants, {}, ())
        return run_operator(step, step.fixed)

    def _step(self, operation: Operation, constants: Constants, by_name: dict[str, Any], dead: tuple[str, ...]) -> Step:
        found = operator(operation.type, self._opset)
        if found is None:
            raise UnsupportedOperator(f"no implementation of {operation.type} at {operation.name!r}")
        fixed, tensors, others = {}, [], []
        for key, bindings in self._arguments(operation):
            kind = found.parameters[key].kind
            if all(isinstance(b, Constant) or b in constants for b in bindings):
                keep = not operation.type.startswith("constexpr_")
                values = tuple(self._constant_of(b, constants, keep) for b in bindings)
                fixed[key] = converted(operation, key, kind, values)
            elif kind is Tensor and len(bindings) == 1:
                tensors.append((key, bindings[0]))
            else:
                others.append((key, kind, tuple(self._name(b, constants, by_name) for b in bindings)))
        results = tuple(self._result(o, found) for o in operation.outputs)
        blocks = tuple(self.plan(b, constants) for b in operation.blocks)
        return Step(operation, found, fixed, tuple(tensors), tuple(others), results, blocks, dead)

    @staticmethod
    def _arguments(operation: Operation) -> Iterator[tuple[str, tuple[Any, ...]]]:
        yield from operation.inputs.items()
        yield from ((key, (value,)) for key, value in operation.attributes.items())

    def _constant_of(self, binding: Any, constants: Constants, keep: bool) -> Any:
        if isinstance(binding, Constant):
            return self._decoded(binding)
        return constants.value(binding, keep=keep)

    def _name(self, binding: Any, constants: Constants, by_name: dict[str, Any]) -> str:
        """The name under which a binding is found while running; constants among run-time values get one."""
        if isinstance(binding, str):
            if binding in constants:
                by_name[binding] = constants.value(binding)
            return binding
        name = f"constant {len(by_name)} of the plan"
        by_name[name] = self._decoded(binding)
        return name

    def _result(self, output: Variable, found: Operator) -> Result:
        dtype, shape = output.type.dtype, output.type.shape
        if output.type.kind != "tensor" or dtype is None or dtype.storage is None:
            return Result(output, None, None, None, False)
        through = None if found.moves else self._arithmetic.through(dtype)
        fixed = shape is not None and None not in shape
        return Result(output, self._arithmetic.carrier(dtype), through, shape, fixed)


class Constants:
    """Constants by name, made when first asked for; a nested block sees those around it."""

    def __init__(self, outer: Constants | None = None) -> None:
        self._makers: ChainMap[str, Callable[[], Any]] = outer._makers.new_child() if outer else ChainMap()
        self._made: dict[str, Any] = outer._made if outer else {}

    def __contains__(self, name: str) -> bool:
        return name in self._makers

    def add(self, name: str, make: Callable[[], Any]) -> None:
        self._makers[name] = make

    def value(self, name: str, *, keep: bool = True) -> Any:
        """The constant `name`; kept for its next user unless it only serves to make another constant."""
        maker = self._makers[name]
        key = f"{name} {id(maker)}"
        if key in self._made:
            return self._made[key]
        made = maker()
        if keep:
            self._made[key] = made
        return made


def _last_uses(operations: list[Operation], outputs: tuple[str, ...]) -> list[list[str]]:
    """For each operation the values that nothing reads after it, its own unread results among them."""
    last: dict[str, int] = {}
    for index, operation in enumerate(operations):
        for name in operation.reads():
            last[name] = index
        for output in operation.outputs:
            last[output.name] = index
    dead: list[list[str]] = [[] for _ in operations]
    for name, index in last.items():
        if name not in outputs:
            dead[index].append(name)
    return dead
