"""The constants inside operators, as a float16 file stores them.

A float16 program rounds not only weights but every number: the scale of a product, an epsilon, the 1/6 of a hard swish,
the scale of attention. PyTorch has them as arguments or within the operator. Beside a model with rounded weights alone
a right file would seem to err by up to 2e-4 there; beside this form of it, it errs by what float64 errs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten

SMALLEST = 2.0**-24
LITERALS = frozenset(
    {aten.add, aten.sub, aten.rsub, aten.mul, aten.div, aten.pow, aten.clamp, aten.leaky_relu, aten.layer_norm}
)
"""Operators whose numbers are rounded where they stand. (The scale of a resize is one that decides about shapes.)"""

Call = tuple[Callable[..., Any], Sequence[Any], dict[str, Any]]


def half(number: float) -> float:
    """`number` in float16; one too small for it becomes the smallest, as coremltools writes it."""
    rounded = float(torch.tensor(number, dtype=torch.float64).half())
    return math.copysign(SMALLEST, number) if rounded == 0 and number != 0 else rounded


def with_rounded_constants(target: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Call:
    """The call `target(*args, **kwargs)` with the constants of the operator rounded to float16."""
    packet = getattr(target, "overloadpacket", None)
    if packet in LITERALS:
        return target, [_rounded(value) for value in args], {name: _rounded(value) for name, value in kwargs.items()}
    if packet is aten.hardswish:
        return _hardswish, args, kwargs
    if packet is aten.hardsigmoid:
        return _hardsigmoid, args, kwargs
    if packet is aten.scaled_dot_product_attention:
        scale = kwargs.get("scale") or args[0].shape[-1] ** -0.5
        return target, args, {**kwargs, "scale": half(scale)}
    return target, args, kwargs


def _rounded(value: Any) -> Any:
    return half(value) if isinstance(value, float) and math.isfinite(value) else value


def _hardsigmoid(x: Tensor) -> Tensor:
    return torch.clamp(x * half(1 / 6) + 0.5, 0, 1)


def _hardswish(x: Tensor) -> Tensor:
    return x * _hardsigmoid(x)
