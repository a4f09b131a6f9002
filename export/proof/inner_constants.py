"""The constants inside operators, as a float16 or a float32 file stores them.

A float16 program rounds not only weights but every number: the scale of a product, an epsilon, the 1/6 of a hard swish,
the scale of attention. PyTorch has them as arguments or within the operator. Beside a model with rounded weights alone
a right file would seem to err by up to 2e-4 there; beside this form of it, it errs by what float64 errs. In float32 the
same shows where a constant cancels: a hard sigmoid that is all but 0 is x / 6 + 1/2, and what is left of the two is no
larger than the rounding of 1/6.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
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
    return stored(number, torch.float16)


def stored(number: float, dtype: torch.dtype) -> float:
    """`number` in float16 or float32."""
    rounded = float(torch.tensor(number, dtype=torch.float64).to(dtype))
    return math.copysign(SMALLEST, number) if rounded == 0 and number != 0 and dtype == torch.float16 else rounded


def with_rounded_constants(
    target: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], dtype: torch.dtype = torch.float16
) -> Call:
    """The call `target(*args, **kwargs)` with the constants of the operator rounded to `dtype`."""
    packet = getattr(target, "overloadpacket", None)
    if packet in LITERALS:
        named = {name: _rounded(value, dtype) for name, value in kwargs.items()}
        return target, [_rounded(value, dtype) for value in args], named
    if packet in CANCELLING:
        return partial(CANCELLING[packet], sixth=stored(1 / 6, dtype)), args, kwargs
    if packet is aten.scaled_dot_product_attention:
        scale = kwargs.get("scale") or args[0].shape[-1] ** -0.5
        return target, args, {**kwargs, "scale": stored(scale, dtype)}
    return target, args, kwargs


def _rounded(value: Any, dtype: torch.dtype) -> Any:
    return stored(value, dtype) if isinstance(value, float) and math.isfinite(value) else value


def _hardsigmoid(x: Tensor, sixth: float) -> Tensor:
    return torch.clamp(x * sixth + 0.5, 0, 1)


def _hardswish(x: Tensor, sixth: float) -> Tensor:
    return x * _hardsigmoid(x, sixth)


CANCELLING = {aten.hardsigmoid: _hardsigmoid, aten.hardswish: _hardswish}
