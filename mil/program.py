"""The nouns of an ML Program, free of the file format: functions, blocks, operations, and their declared types.

A program is a set of functions. A function has inputs and one block; a block is a list of operations in execution
order, and the names of its outputs. An operation takes named inputs, each bound to earlier values by name or to a
constant, and makes named results whose element type and shape are declared. Operations such as `cond` hold blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .dtypes import DataType


@dataclass(frozen=True, slots=True)
class ValueType:
    """The declared type of a value.

    `kind` is "tensor", "list", "dictionary", "tuple" or "state" (whose `dtype` and `shape` are those of the tensor it
    wraps). A dimension that is only known at run time is None; a tensor of unknown rank has shape None.
    """

    kind: str
    dtype: DataType | None = None
    shape: tuple[int | None, ...] | None = None

    def __str__(self) -> str:
        dims = (
            "any shape"
            if self.shape is None
            else "x".join("?" if n is None else str(n) for n in self.shape) or "scalar"
        )
        return f"{self.dtype.name} {dims}" if self.dtype else self.kind


@dataclass(frozen=True, slots=True)
class Constant:
    """A constant of the program. `read()` decodes it: numpy array, str, list or dict; nothing is decoded before."""

    type: ValueType
    read: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Variable:
    """A named value that an operation makes, or an input of a block or function."""

    name: str
    type: ValueType


Binding = str | Constant
"""What an operation's input is bound to: the name of an earlier value, or a constant written in place."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One step. `inputs` maps an input's name to one binding, or to several for inputs such as concat's `values`."""

    type: str
    inputs: dict[str, tuple[Binding, ...]]
    attributes: dict[str, Constant]
    outputs: tuple[Variable, ...]
    blocks: tuple[Block, ...] = ()

    @property
    def name(self) -> str:
        """The name of the first result, by which messages speak of the operation."""
        return self.outputs[0].name if self.outputs else self.type

    def reads(self) -> Iterator[str]:
        """Names of all values this operation needs, those of its blocks included."""
        for bindings in self.inputs.values():
            yield from (b for b in bindings if isinstance(b, str))
        for block in self.blocks:
            yield from block.outputs
            for operation in block.operations:
                yield from operation.reads()


@dataclass(frozen=True, slots=True)
class Block:
    """Operations in execution order; a nested block also sees the values of the blocks around it."""

    inputs: tuple[Variable, ...]
    operations: tuple[Operation, ...]
    outputs: tuple[str, ...]

    def walk(self) -> Iterator[Operation]:
        """Every operation, those of nested blocks after the operation that holds them."""
        for operation in self.operations:
            yield operation
            for block in operation.blocks:
                yield from block.walk()


@dataclass(frozen=True, slots=True)
class Function:
    """An entry point. `opset` is the operator set: 5 is iOS15, 6 iOS16, 7 iOS17, 8 iOS18, 9 iOS26."""

    name: str
    opset: int
    inputs: tuple[Variable, ...]
    block: Block

    @property
    def states(self) -> tuple[Variable, ...]:
        """The inputs that hold state between predictions."""
        return tuple(i for i in self.inputs if i.type.kind == "state")
