"""Functions of two tensors of one type, element by element with broadcasting; `select` (MIL: `elementwise_binary`)."""

from __future__ import annotations

import torch
from torch import Tensor

from .operator import Table


def add(x: Tensor, y: Tensor) -> Tensor:
    """x + y."""
    return torch.add(x, y)


def sub(x: Tensor, y: Tensor) -> Tensor:
    """x - y."""
    return torch.sub(x, y)


def mul(x: Tensor, y: Tensor) -> Tensor:
    """x * y."""
    return torch.mul(x, y)


def real_div(x: Tensor, y: Tensor) -> Tensor:
    """x / y; of two integers the quotient cut off towards zero."""
    if x.is_floating_point() or y.is_floating_point():
        return x / y
    return torch.div(x, y, rounding_mode="trunc")


def floor_div(x: Tensor, y: Tensor) -> Tensor:
    """floor(x / y)."""
    return torch.div(x, y, rounding_mode="floor")


def mod(x: Tensor, y: Tensor) -> Tensor:
    """x - y * floor(x / y): the sign of the result is that of y."""
    return torch.remainder(x, y)


def power(x: Tensor, y: Tensor) -> Tensor:
    """x ** y."""
    return torch.pow(x, y)


def maximum(x: Tensor, y: Tensor) -> Tensor:
    """The larger of both."""
    return torch.maximum(x, y)


def minimum(x: Tensor, y: Tensor) -> Tensor:
    """The smaller of both."""
    return torch.minimum(x, y)


def equal(x: Tensor, y: Tensor) -> Tensor:
    """x == y."""
    return torch.eq(x, y)


def not_equal(x: Tensor, y: Tensor) -> Tensor:
    """x != y."""
    return torch.ne(x, y)


def greater(x: Tensor, y: Tensor) -> Tensor:
    """x > y."""
    return torch.gt(x, y)


def greater_equal(x: Tensor, y: Tensor) -> Tensor:
    """x >= y."""
    return torch.ge(x, y)


def less(x: Tensor, y: Tensor) -> Tensor:
    """x < y."""
    return torch.lt(x, y)


def less_equal(x: Tensor, y: Tensor) -> Tensor:
    """x <= y."""
    return torch.le(x, y)


def logical_and(x: Tensor, y: Tensor) -> Tensor:
    """x and y."""
    return torch.logical_and(x, y)


def logical_or(x: Tensor, y: Tensor) -> Tensor:
    """x or y."""
    return torch.logical_or(x, y)


def logical_xor(x: Tensor, y: Tensor) -> Tensor:
    """Either x or y, not both."""
    return torch.logical_xor(x, y)


def select(cond: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """`a` where `cond`, else `b`."""
    return torch.where(cond, a, b)


COMPUTED: Table = {
    "add": add,
    "sub": sub,
    "mul": mul,
    "real_div": real_div,
    "floor_div": floor_div,
    "mod": mod,
    "pow": power,
    "equal": equal,
    "not_equal": not_equal,
    "greater": greater,
    "greater_equal": greater_equal,
    "less": less,
    "less_equal": less_equal,
    "logical_and": logical_and,
    "logical_or": logical_or,
    "logical_xor": logical_xor,
}
MOVED: Table = {"maximum": maximum, "minimum": minimum, "select": select}
