"""The noun `Operator`: a MIL operator is a Python function whose parameters are the operator's inputs.

The function's signature is the definition: a parameter without default is a required input, and its annotation says
in which form the input is wanted. The interpreter reads it once per operator when a model is loaded:

    Tensor     a tensor in the element type that carries the declared one
    Tensors    several tensors (`values` of concat)
    int, float, bool, str, Number      a scalar
    Ints, Flags                        integers or booleans of a vector
    Labels     strings or integers (`classes` of classify)
    State      the place that a state input names
    TensorList the list that `make_list` and its kin hand on
    Blocks     the operator's nested blocks as functions

An input that may be left out is `… | None = None` or has the default that MIL gives it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import Any, get_args, get_type_hints

import torch
from torch import Tensor

Tensors = tuple[Tensor, ...]
Ints = tuple[int, ...]
Flags = tuple[bool, ...]
Number = int | float
Labels = list[Any]
Blocks = tuple[Callable[..., list[Any]], ...]
Function = Callable[..., Any]

ByOpset = Mapping[int, Function]
"""Versions of one operator: the first operator set (5 is iOS15) of each form. An opset uses the latest not above it."""

Table = Mapping[str, Function | ByOpset]
"""Operator name → its function, or its functions by operator set."""


@dataclass
class State:
    """A named tensor that outlives a prediction."""

    value: Tensor


@dataclass(frozen=True)
class TensorList:
    """A MIL list. Elements that were never written read as `zero`."""

    items: tuple[Tensor | None, ...]
    zero: Tensor | None = None


@dataclass(frozen=True)
class Parameter:
    """One input of an operator: its name, the form in which the function wants it, and whether it must be given."""

    name: str
    kind: Any
    required: bool


@dataclass(frozen=True)
class Operator:
    """A MIL operator. `moves`: its results are values of its inputs or constants, so they need no rounding."""

    name: str
    function: Function
    moves: bool
    parameters: dict[str, Parameter] = field(repr=False)


def define(name: str, function: Function, *, moves: bool) -> Operator:
    """The operator that `function` implements."""
    hints = get_type_hints(function)
    signature = inspect.signature(function)
    parameters = {
        key: Parameter(key, _without_none(hints[key]), value.default is inspect.Parameter.empty)
        for key, value in signature.parameters.items()
    }
    return Operator(name, function, moves, parameters)


def _without_none(kind: Any) -> Any:
    """`Tensor | None` → Tensor; other annotations, int | float among them, as they are."""
    if not isinstance(kind, UnionType):
        return kind
    rest = [k for k in get_args(kind) if k is not NoneType]
    if len(rest) == 1:
        return rest[0]
    return Number


def convert(kind: Any, values: tuple[Any, ...]) -> Any:
    """The bound values of one input in the form that a parameter wants; raises TypeError when they do not fit.

    `values` has one entry except for inputs that take several. Entries are tensors, or str, list, State, TensorList.
    """
    if kind in (Tensors, tuple):
        return values
    if kind in (Ints, Flags):
        element = int if kind == Ints else bool
        return tuple(element(n) for value in values for n in _flat(value))
    (value,) = values
    if kind is Tensor:
        if not isinstance(value, Tensor):
            raise TypeError(f"expected a tensor, got {type(value).__name__}")
        return value
    if kind == Labels:
        return value.tolist() if isinstance(value, Tensor) else value
    if kind in (int, float, bool, Number):
        number = value.item() if isinstance(value, Tensor) else value
        return number if kind == Number else kind(number)
    if not isinstance(value, kind):
        raise TypeError(f"expected {kind.__name__}, got {type(value).__name__}")
    return value


def _flat(value: Any) -> list[Any]:
    return value.reshape(-1).tolist() if isinstance(value, Tensor) else list(value)


def bounded(shape: Ints) -> list[int]:
    """`shape`, refused when no model could mean it: operators that make tensors from numbers ask here first."""
    count = 1
    for n in shape:
        if n < 0:
            raise ValueError(f"a negative dimension in shape {tuple(shape)}")
        count *= n
    if count > torch.iinfo(torch.int32).max:
        raise ValueError(f"shape {tuple(shape)} has {count} elements")
    return list(shape)
