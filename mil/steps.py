"""One step of an execution: an operator, its inputs as far as they are known, and how its results are stored.

This is where the two promises of the executor are kept: a result is rounded to the type that the program declares for
it, and its shape is held against the declared one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .errors import ExecutionError
from .ops.operator import Operator, convert
from .program import Operation, Variable

IN_PLACE_BYTES = 1 << 20
"""From this size on a result is rounded in its own memory."""
PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True, slots=True)
class Result:
    """How one result is stored: rounded through `through`, carried as `carrier`, its shape held against `shape`."""

    variable: Variable
    carrier: torch.dtype | None
    through: torch.dtype | None
    shape: tuple[int | None, ...] | None
    fixed: bool


@dataclass(frozen=True, slots=True)
class Step:
    """One operation, ready to run: constants in `fixed`, tensors by name, other run-time inputs by kind and names."""

    operation: Operation
    operator: Operator
    fixed: dict[str, Any]
    tensors: tuple[tuple[str, str], ...]
    others: tuple[tuple[str, Any, tuple[str, ...]], ...]
    results: tuple[Result, ...]
    blocks: tuple[BlockPlan, ...]
    dead: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """A block's steps. `constants` are the constants that must be found by name while it runs."""

    inputs: tuple[Variable, ...]
    steps: tuple[Step, ...]
    outputs: tuple[str, ...]
    constants: dict[str, Any]


def converted(operation: Operation, key: str, kind: Any, values: tuple[Any, ...]) -> Any:
    """The values of one input in the form that the operator wants; raises ExecutionError when they do not fit."""
    try:
        return convert(kind, values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ExecutionError(f"{operation.type} {operation.name!r}: input {key!r}: {_line(error)}") from None


def run_operator(step: Step, arguments: dict[str, Any]) -> list[Any]:
    """Call the operator's function and store its results as the program declares them."""
    try:
        returned = step.operator.function(**arguments)
    except ExecutionError:
        raise
    except Exception as error:
        raise ExecutionError(f"{step.operation.type} {step.operation.name!r}: {_line(error)}") from error
    values = returned if isinstance(returned, list) else [returned]
    if len(values) != len(step.results):
        text = f"{len(values)} results, the program declares {len(step.results)}"
        raise ExecutionError(f"{step.operation.type} {step.operation.name!r}: {text}")
    return [settled(value, result, step, arguments) for value, result in zip(values, step.results, strict=True)]


def settled(value: Any, result: Result, step: Step, arguments: dict[str, Any]) -> Any:
    """`value` rounded and carried as its declared type wants, its shape held against the declared one."""
    if result.carrier is None or not isinstance(value, Tensor):
        return value
    if result.through is not None:
        value = _rounded(value, result.through, arguments)
    if value.dtype is not result.carrier:
        value = value.to(result.carrier)
    if result.shape is not None and value.shape != result.shape and not _fits(value, result):
        where = f"{step.operation.type} {result.variable.name!r}"
        raise ExecutionError(f"{where}: computed shape {tuple(value.shape)}, the program declares {result.shape}")
    return value


def _rounded(value: Tensor, through: torch.dtype, arguments: dict[str, Any]) -> Tensor:
    """`value` rounded to `through`: in its own memory where it is large and the operator made it, so that no third copy
    stands beside the float32 result and the narrow one."""
    narrow = value.to(through)
    if value.nbytes < IN_PLACE_BYTES or not value.is_contiguous() or _shared(value, arguments):
        return narrow
    return value.copy_(narrow)


def _shared(value: Tensor, arguments: dict[str, Any]) -> bool:
    """Whether the memory of a result may be that of an argument."""
    if "blocks" in arguments:
        return True
    place = value.untyped_storage().data_ptr()
    given = (v for a in arguments.values() for v in (a if isinstance(a, tuple) else (a,)))
    return any(not isinstance(v, PLAIN) and not _apart(v, place) for v in given)


def _apart(argument: Any, place: int) -> bool:
    return isinstance(argument, Tensor) and argument.untyped_storage().data_ptr() != place


def _fits(value: Tensor, result: Result) -> bool:
    """Whether the shape agrees where the declaration leaves dimensions open."""
    if result.fixed or result.shape is None or len(result.shape) != value.ndim:
        return False
    return all(want in (None, have) for want, have in zip(result.shape, value.shape, strict=True))


def _line(error: BaseException) -> str:
    """The first line of an error's message, or its kind when it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
