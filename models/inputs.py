"""What a model takes: its inputs by name, with shape, number format and range; how they are told, drawn and handed over.

An input is told as `[NAME=]SHAPE[:DTYPE[:LIMIT]]`, as in `1,3,224,224`, `mask=1,16:bool` or `ids=1,16:int64:30522`; the
first number of a shape is the batch, the same for all inputs.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

DTYPES = ("float32", "int64", "int32", "uint8", "bool")

PICTURE_SIDE = 8
"""Maps of at least this many positions per side are fed pictures; smaller ones are fed noise."""


class InputError(ValueError):
    """Inputs that cannot be understood, or that the model does not take; the message is one line."""


@dataclass(frozen=True)
class Input:
    """One input. `shape` is that of one sample, without the batch that stands in front of it.

    `dtype` is torch's name for it; whole numbers are drawn from 0 up to, not including, `limit`. `keyword` says that
    the model is given it by its name.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    limit: int | None = None
    keyword: bool = False

    @property
    def is_map(self) -> bool:
        """Whether it is a stack of channels over a plane, as a picture is: float32 (C, H, W)."""
        return self.dtype == "float32" and len(self.shape) == 3 and min(self.shape[1:]) >= PICTURE_SIDE


@dataclass(frozen=True)
class Given:
    """An input as it was told: `name` is "" where none was given."""

    name: str
    shape: tuple[int, ...]
    """With the batch in front."""
    dtype: str = "float32"
    limit: int | None = None


def parse(text: str) -> Given:
    """`[NAME=]SHAPE[:DTYPE[:LIMIT]]`. Raises InputError."""
    name, equals, rest = text.rpartition("=")
    sizes, _, kind = rest.partition(":")
    dtype, _, limit = kind.partition(":")
    numbers = sizes.split(",")
    fine = all(re.fullmatch(r"\s*[1-9]\d*\s*", number) for number in numbers) and (name or not equals)
    if not fine or (dtype or "float32") not in DTYPES or (limit and not re.fullmatch(r"[1-9]\d*", limit)):
        expected = f"NAME=SHAPE:DTYPE:LIMIT, as in 1,3,224,224 or ids=1,16:int64:30522 ({', '.join(DTYPES)})"
        raise InputError(f"cannot read the input shape {text!r}; expected {expected}")
    return Given(name.strip(), tuple(map(int, numbers)), dtype or "float32", int(limit) if limit else None)


def given_as(name: str, example: Tensor) -> Given:
    """An example tensor as an input: its shape, its dtype, and for whole numbers the range that it shows."""
    dtype = str(example.dtype).removeprefix("torch.")
    if dtype not in DTYPES:
        raise InputError(f"example input {name or '1'} is {dtype}; expected {', '.join(DTYPES)}")
    whole = not example.is_floating_point() and dtype != "bool"
    limit = max(int(example.max()) + 1, 2) if whole and example.numel() else None
    return Given(name, tuple(example.shape), dtype, limit)


def bind(module: nn.Module, given: Sequence[Given]) -> tuple[tuple[Input, ...], int]:
    """The inputs under the names of `forward`'s parameters, positional ones first, and the batch.

    Named inputs are handed over by name if `forward` has such parameters; names that it does not have are names for the
    files alone, and the inputs are handed over in their order. Raises InputError for a mixture of both, for names that
    occur twice, and for inputs that do not share their batch.
    """
    batches = sorted({one.shape[0] for one in given})
    if len(batches) != 1:
        told = " and ".join(map(str, batches)) or "no input"
        raise InputError(f"the first number of every input shape is the batch, the same for all; got {told}")
    parameters = _parameters(module)
    named = [one.name for one in given if one.name]
    known = [name for name in named if name in parameters]
    if known and len(known) < len(named):
        other = next(name for name in named if name not in parameters)
        raise InputError(f"forward has no parameter {other!r}; it has {', '.join(parameters)}")
    free = [name for name in parameters if name not in known]
    inputs = [
        Input(one.name or _name(free, place), one.shape[1:], one.dtype, _limit(one, module), one.name in known)
        for place, one in enumerate(given)
    ]
    if len({one.name for one in inputs}) < len(inputs):
        raise InputError(f"the names of the inputs must differ; got {', '.join(one.name for one in inputs)}")
    return tuple(sorted(inputs, key=lambda one: one.keyword)), batches[0]


def handed(inputs: Sequence[Input], values: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments of the model's forward, from values by input name."""
    positional = tuple(values[one.name] for one in inputs if not one.keyword)
    return positional, {one.name: values[one.name] for one in inputs if one.keyword}


def renamed(inputs: tuple[Input, ...], name: str | None) -> tuple[Input, ...]:
    """The only input under another name. Raises InputError where there are several, or the model reads the name."""
    if name is None:
        return inputs
    if len(inputs) != 1 or inputs[0].keyword:
        raise InputError(f"--input-name {name} is for a single input; name several with --input-shape NAME=SHAPE")
    return (replace(inputs[0], name=name),)


def _parameters(module: nn.Module) -> tuple[str, ...]:
    """The parameters of `forward` that take one value each."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_ONLY)
    found = inspect.signature(module.forward).parameters
    return tuple(name for name, parameter in found.items() if parameter.kind in kinds)


def _name(free: Sequence[str], place: int) -> str:
    return free[place] if place < len(free) else f"input{place + 1}"


def _limit(one: Given, module: nn.Module) -> int | None:
    """Whole numbers are taken for indices: below the size of the smallest embedding, or 0 and 1 without any."""
    from torch import nn

    if one.dtype in ("float32", "bool") or one.limit is not None:
        return one.limit
    return min((m.num_embeddings for m in module.modules() if isinstance(m, nn.Embedding)), default=2)
