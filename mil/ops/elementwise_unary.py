"""Functions of one tensor, element by element (MIL: `elementwise_unary`). Result shape = shape of `x`."""

from __future__ import annotations

import torch
from torch import Tensor

from .operator import Number, Table


def absolute(x: Tensor) -> Tensor:
    """|x|."""
    return torch.abs(x)


def acos(x: Tensor) -> Tensor:
    """Inverse cosine, in radians."""
    return torch.acos(x)


def asin(x: Tensor) -> Tensor:
    """Inverse sine, in radians."""
    return torch.asin(x)


def atan(x: Tensor) -> Tensor:
    """Inverse tangent, in radians."""
    return torch.atan(x)


def atanh(x: Tensor) -> Tensor:
    """Inverse hyperbolic tangent."""
    return torch.atanh(x)


def cast(x: Tensor, dtype: str) -> Tensor:
    """`x` as `dtype`: a float becomes an integer by cutting off its fraction, anything becomes bool by `x != 0`.

    Rounding to a float type is done where the result is stored, by the type that the program declares for it.
    """
    if dtype == "bool":
        return x != 0
    if dtype.startswith(("fp", "bf")) or not x.is_floating_point():
        return x
    return x.trunc().to(torch.int64)


def ceil(x: Tensor) -> Tensor:
    """Smallest integer not below x."""
    return torch.ceil(x)


def clip(x: Tensor, alpha: Number, beta: Number) -> Tensor:
    """min(max(x, alpha), beta)."""
    return x.clamp(alpha, beta)


def cos(x: Tensor) -> Tensor:
    """Cosine of radians."""
    return torch.cos(x)


def cosh(x: Tensor) -> Tensor:
    """Hyperbolic cosine."""
    return torch.cosh(x)


def erf(x: Tensor) -> Tensor:
    """Gauss error function."""
    return torch.erf(x)


def exp(x: Tensor) -> Tensor:
    """e ** x."""
    return torch.exp(x)


def exp2(x: Tensor) -> Tensor:
    """2 ** x."""
    return torch.exp2(x)


def floor(x: Tensor) -> Tensor:
    """Largest integer not above x."""
    return torch.floor(x)


def identity(x: Tensor) -> Tensor:
    """x itself."""
    return x


def inverse(x: Tensor, epsilon: float = 1e-4) -> Tensor:
    """1 / (x + epsilon)."""
    return 1 / (x + epsilon)


def log(x: Tensor, epsilon: float = 1e-45) -> Tensor:
    """Natural logarithm of x + epsilon."""
    return torch.log(x + epsilon)


def logical_not(x: Tensor) -> Tensor:
    """Not x."""
    return torch.logical_not(x)


def round_half_even(x: Tensor) -> Tensor:
    """Nearest integer; halves go to the even one."""
    return torch.round(x)


def rsqrt(x: Tensor, epsilon: float = 1e-12) -> Tensor:
    """1 / sqrt(x + epsilon)."""
    return torch.rsqrt(x + epsilon)


def sign(x: Tensor) -> Tensor:
    """-1, 0 or 1."""
    return torch.sign(x)


def sin(x: Tensor) -> Tensor:
    """Sine of radians."""
    return torch.sin(x)


def sinh(x: Tensor) -> Tensor:
    """Hyperbolic sine."""
    return torch.sinh(x)


def sqrt(x: Tensor) -> Tensor:
    """Square root."""
    return torch.sqrt(x)


def square(x: Tensor) -> Tensor:
    """x * x."""
    return torch.square(x)


def tan(x: Tensor) -> Tensor:
    """Tangent of radians."""
    return torch.tan(x)


def tanh(x: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return torch.tanh(x)


def threshold(x: Tensor, alpha: Number) -> Tensor:
    """max(x, alpha)."""
    return x.clamp(min=alpha)


COMPUTED: Table = {
    "abs": absolute,
    "acos": acos,
    "asin": asin,
    "atan": atan,
    "atanh": atanh,
    "cast": cast,
    "ceil": ceil,
    "cos": cos,
    "cosh": cosh,
    "erf": erf,
    "exp": exp,
    "exp2": exp2,
    "floor": floor,
    "inverse": inverse,
    "log": log,
    "logical_not": logical_not,
    "round": round_half_even,
    "rsqrt": rsqrt,
    "sign": sign,
    "sin": sin,
    "sinh": sinh,
    "sqrt": sqrt,
    "square": square,
    "tan": tan,
    "tanh": tanh,
}
MOVED: Table = {"clip": clip, "identity": identity, "threshold": threshold}
