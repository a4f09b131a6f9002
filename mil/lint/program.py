"""A program as the rules see it: operations, declared types, constants. Nothing is executed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..features import Feature
from ..program import Constant, Function, Operation, ValueType

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Tensor:
    """An input of the program or a computed value, with a fixed shape. `dtype` is the name of its element type."""

    name: str
    operator: str
    dtype: str
    bits: int
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.bits // 8

    def __str__(self) -> str:
        return f"{self.dtype} {'×'.join(map(str, self.shape)) or 'scalar'}"


@dataclass(frozen=True)
class Program:
    """One function of a package, and what the package says of its inputs; `bytes` is the package's size on the disk."""

    function: Function
    inputs: tuple[Feature, ...]
    bytes: int

    @cached_property
    def operations(self) -> tuple[Operation, ...]:
        """All that is computed when the program runs, nested blocks included; no constants."""
        return tuple(made for made in self.function.block.walk() if not is_constant(made))

    @cached_property
    def stored(self) -> dict[str, Operation]:
        """The operations that hold constants, plain or compressed, by the name of the value."""
        return {made.name: made for made in self.function.block.walk() if is_constant(made)}

    @cached_property
    def tensors(self) -> tuple[Tensor, ...]:
        """Inputs and results, in order; those of open shape are left out."""
        values = [("input", given) for given in self.function.inputs]
        values += [(made.type, output) for made in self.operations for output in made.outputs]
        return tuple(
            Tensor(value.name, operator, value.type.dtype.name, value.type.dtype.bits, shape)
            for operator, value in values
            if value.type.dtype is not None and (shape := _fixed(value.type)) is not None
        )

    @cached_property
    def _types(self) -> dict[str, ValueType]:
        made = {output.name: output.type for made in self.function.block.walk() for output in made.outputs}
        return {**{given.name: given.type for given in self.function.inputs}, **made}

    def shape(self, operation: Operation, key: str) -> Shape | None:
        """The declared shape of one input; None where the operation has no such input, or it has no fixed rank."""
        (binding, *_) = operation.inputs.get(key) or (None,)
        if isinstance(binding, Constant):
            return binding.type.shape
        found = self._types.get(binding) if binding is not None else None
        return found.shape if found else None

    def made_shape(self, operation: Operation) -> Shape:
        """The declared shape of the first result; empty if there is none."""
        return (operation.outputs[0].type.shape if operation.outputs else None) or ()

    def holder(self, operation: Operation, key: str) -> Operation | None:
        """The operation that holds the constant bound to an input; None for a computed value, and one in place."""
        (binding, *_) = operation.inputs.get(key) or (None,)
        return self.stored.get(binding) if isinstance(binding, str) else None

    def constant(self, operation: Operation, key: str) -> Any:
        """The value of a constant input, decoded; None where it is missing, computed or compressed."""
        (binding, *_) = operation.inputs.get(key) or (None,)
        if isinstance(binding, Constant):
            return binding.read()
        holder = self.holder(operation, key)
        return holder.attributes["val"].read() if holder is not None and "val" in holder.attributes else None

    def is_stored(self, operation: Operation, key: str) -> bool:
        """Whether an input is a constant, plain or compressed."""
        (binding, *_) = operation.inputs.get(key) or (None,)
        return isinstance(binding, Constant) or binding in self.stored

    def numbers(self, operation: Operation, key: str, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """A constant list of integers; the default where it is missing, or no list of numbers."""
        found = np.asarray(self.constant(operation, key))
        return tuple(int(value) for value in found.ravel()) if found.dtype.kind in "iu" else default

    def axis(self, operation: Operation, key: str = "axis") -> int:
        """A constant axis; the last where it is missing."""
        return next(iter(self.numbers(operation, key)), -1)

    def of_type(self, *types: str) -> Iterator[Operation]:
        """The operations of these types."""
        return (made for made in self.operations if made.type in types)


def is_constant(operation: Operation) -> bool:
    """Whether its results are known when the program is loaded."""
    return operation.type == "const" or operation.type.startswith("constexpr_")


def _fixed(declared: ValueType) -> tuple[int, ...] | None:
    shape = declared.shape
    return None if shape is None or None in shape else tuple(size or 0 for size in shape)
