"""What a model takes: its inputs by name, with shape, number format and range; how they are told and handed over.

An input is told as `[NAME=]SHAPE[:DTYPE[:LIMIT]]`, as in `1,3,224,224`, `mask=1,16:bool` or `ids=1,16:int64:30522`. The
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

    def told(self, batch: int) -> str:
        """As a person would say it: "x (1, 3, 32, 32) float32"."""
        return f"{self.name} {(batch, *self.shape)} {self.dtype}"

    @property
    def is_map(self) -> bool:
        """Whether it is a stack of channels over a plane, as a picture is: float32 (C, H, W)."""
        return self.dtype == "float32" and len(self.shape) == 3 and min(self.shape[1:]) >= PICTURE_SIDE

    @property
    def is_raw_picture(self) -> bool:
        """Whether it is a picture of bytes, uint8 (C, H, W) with 1, 3 or 4 channels."""
        return self.dtype == "uint8" and len(self.shape) == 3 and self.shape[0] in (1, 3, 4)


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
    what = f"example input {name}" if name else "an example input"
    if not hasattr(example, "is_floating_point"):
        raise InputError(f"{what} is {type(example).__name__}; expected a tensor")
    dtype = str(example.dtype).removeprefix("torch.")
    if dtype not in DTYPES:
        raise InputError(f"{what} is {dtype}; expected {', '.join(DTYPES)}")
    whole = not example.is_floating_point() and dtype != "bool"
    limit = max(int(example.max()) + 1, 2) if whole and example.numel() else None
    return Given(name, tuple(example.shape), dtype, limit)


def batch_of(given: Sequence[Given]) -> int:
    """The batch that the inputs share. Raises InputError where they do not, or where there is none."""
    batches = sorted({one.shape[0] for one in given if one.shape})
    if len(batches) != 1 or not all(one.shape for one in given):
        told = " and ".join(map(str, batches)) or "none"
        raise InputError(f"the first number of every input shape is the batch, the same for all; got {told}")
    return batches[0]


def bind(module: nn.Module, given: Sequence[Given]) -> tuple[Input, ...]:
    """The inputs in the order of `forward`'s parameters and under their names.

    Inputs without a name take the parameters that no other names, in their order. Where none of the names is a
    parameter, they are names for the files alone, and the inputs are handed over as they come. What does not stand at
    its place from the front is handed over by name. Raises InputError for a mixture of names that are parameters and
    names that are none, for names that occur twice, and where no input is given.
    """
    parameters = _parameters(module)
    if not given:
        example = " ".join(f"--input-shape {name}=1,3,224,224" for name in parameters) or "--input-shape 1,3,224,224"
        raise InputError(f"the shapes of the model's inputs are not known; give each, batch first, as in {example}")
    known = {one.name for one in given if one.name in parameters}
    if known and (strange := [one.name for one in given if one.name and one.name not in known]):
        raise InputError(f"forward has no parameter {strange[0]!r}; it has {', '.join(parameters)}")
    free = iter([name for name in parameters if name not in known])
    placed = [(one.name if one.name in known else next(free, f"input{at}"), one) for at, one in enumerate(given, 1)]
    order = {name: at for at, name in enumerate(parameters)}
    placed.sort(key=lambda pair: order.get(pair[0], len(order)))
    displaced = [
        at for at, (name, _) in enumerate(placed) if order.get(name, at) != at or not parameters.get(name, True)
    ]
    first_by_name = min(displaced, default=len(placed))
    inputs = [
        Input(one.name or name, one.shape[1:], one.dtype, _limit(one, module), at >= first_by_name)
        for at, (name, one) in enumerate(placed)
    ]
    if len({one.name for one in inputs}) < len(inputs):
        raise InputError(f"the names of the inputs must differ; got {', '.join(one.name for one in inputs)}")
    return tuple(inputs)


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


def _parameters(module: nn.Module) -> dict[str, bool]:
    """The parameters of `forward` that take one value each → whether it can be given by its place."""
    by_place = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)
    found = inspect.signature(module.forward).parameters
    return {
        name: parameter.kind in by_place
        for name, parameter in found.items()
        if parameter.kind in (*by_place, inspect.Parameter.KEYWORD_ONLY)
    }


def _limit(one: Given, module: nn.Module) -> int | None:
    """Whole numbers are taken for indices: below the size of the smallest embedding, or 0 and 1 without any."""
    from torch import nn

    if one.dtype in ("float32", "bool") or one.limit is not None:
        return one.limit
    if one.dtype == "uint8":
        return 256
    return min((m.num_embeddings for m in module.modules() if isinstance(m, nn.Embedding)), default=2)
