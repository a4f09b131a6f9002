"""Element by element: unary and binary functions, activations, casts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..dtypes import BY_NAME
from ..ops.operator import Number
from .graph import CannotLower, Graph, Symbol, onnx_type

UNARY = {
    "abs": "Abs",
    "acos": "Acos",
    "asin": "Asin",
    "atan": "Atan",
    "atanh": "Atanh",
    "ceil": "Ceil",
    "cos": "Cos",
    "cosh": "Cosh",
    "erf": "Erf",
    "exp": "Exp",
    "floor": "Floor",
    "identity": "Identity",
    "logical_not": "Not",
    "relu": "Relu",
    "round": "Round",
    "sigmoid": "Sigmoid",
    "sign": "Sign",
    "sin": "Sin",
    "sinh": "Sinh",
    "softplus": "Softplus",
    "softsign": "Softsign",
    "sqrt": "Sqrt",
    "tan": "Tan",
    "tanh": "Tanh",
}
BINARY = {
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "real_div": "Div",
    "pow": "Pow",
    "maximum": "Max",
    "minimum": "Min",
    "equal": "Equal",
    "greater": "Greater",
    "greater_equal": "GreaterOrEqual",
    "less": "Less",
    "less_equal": "LessOrEqual",
    "logical_and": "And",
    "logical_or": "Or",
    "logical_xor": "Xor",
}


def unary(kind: str) -> Callable[..., str]:
    """The lowering of a unary function that ONNX has under the name `kind`."""

    def lower(g: Graph, x: Symbol) -> str:
        return g.node(kind, [x.name])

    return lower


def binary(kind: str) -> Callable[..., str]:
    """The lowering of a binary function that ONNX has under the name `kind`."""

    def lower(g: Graph, x: Symbol, y: Symbol) -> str:
        return g.node(kind, [x.name, y.name])

    return lower


def not_equal(g: Graph, x: Symbol, y: Symbol) -> str:
    return g.node("Not", [g.node("Equal", [x.name, y.name])])


def floor_div(g: Graph, x: Symbol, y: Symbol) -> str:
    if x.dtype.is_float:
        return g.node("Floor", [g.node("Div", [x.name, y.name])])
    rest = g.node("Mod", [x.name, y.name])
    return g.node("Div", [g.node("Sub", [x.name, rest]), y.name])


def mod(g: Graph, x: Symbol, y: Symbol) -> str:
    if not x.dtype.is_float:
        return g.node("Mod", [x.name, y.name])
    whole = g.node("Floor", [g.node("Div", [x.name, y.name])])
    return g.node("Sub", [x.name, g.node("Mul", [whole, y.name])])


def select(g: Graph, cond: Symbol, a: Symbol, b: Symbol) -> str:
    return g.node("Where", [cond.name, a.name, b.name])


def cast(g: Graph, x: Symbol, dtype: str) -> str:
    return g.node("Cast", [x.name], to=onnx_type(BY_NAME[dtype]))


def square(g: Graph, x: Symbol) -> str:
    return g.node("Mul", [x.name, x.name])


def exp2(g: Graph, x: Symbol) -> str:
    return g.node("Pow", [g.constant(2.0), x.name])


def _shifted(g: Graph, x: Symbol, epsilon: float) -> str:
    return g.node("Add", [x.name, g.constant(epsilon)]) if np.float32(epsilon) else x.name


def inverse(g: Graph, x: Symbol, epsilon: float = 1e-4) -> str:
    return g.node("Reciprocal", [_shifted(g, x, epsilon)])


def rsqrt(g: Graph, x: Symbol, epsilon: float = 1e-12) -> str:
    return g.node("Reciprocal", [g.node("Sqrt", [_shifted(g, x, epsilon)])])


def log(g: Graph, x: Symbol, epsilon: float = 1e-45) -> str:
    return g.node("Log", [_shifted(g, x, epsilon)])


def clip(g: Graph, x: Symbol, alpha: Number, beta: Number) -> str:
    return g.node("Clip", [x.name, g.constant(alpha), g.constant(beta)])


def threshold(g: Graph, x: Symbol, alpha: Number) -> str:
    return g.node("Clip", [x.name, g.constant(alpha)])


def relu6(g: Graph, x: Symbol) -> str:
    return clip(g, x, 0.0, 6.0)


def silu(g: Graph, x: Symbol) -> str:
    return g.node("Mul", [x.name, g.node("Sigmoid", [x.name])])


def softmax(g: Graph, x: Symbol, axis: int = -1) -> str:
    return g.node("Softmax", [x.name], axis=axis)


def gelu(g: Graph, x: Symbol, mode: str = "EXACT") -> str:
    if mode == "SIGMOID_APPROXIMATION":
        return g.node("Mul", [x.name, g.node("Sigmoid", [g.node("Mul", [x.name, g.constant(1.702)])])])
    return g.node("Gelu", [x.name], approximate="tanh" if mode == "TANH_APPROXIMATION" else "none")


def leaky_relu(g: Graph, x: Symbol, alpha: float) -> str:
    return g.node("LeakyRelu", [x.name], alpha=alpha)


def elu(g: Graph, x: Symbol, alpha: float) -> str:
    return g.node("Elu", [x.name], alpha=alpha)


def prelu(g: Graph, x: Symbol, alpha: Symbol) -> str:
    if alpha.value is None:
        raise CannotLower("its slopes are computed")
    slope = alpha.value.reshape([-1] + [1] * max(0, x.ndim - 2)).numpy()
    return g.node("PRelu", [x.name, g.constant(slope)])


def clamped_relu(g: Graph, x: Symbol, alpha: float, beta: float) -> str:
    return g.node("Min", [leaky_relu(g, x, alpha), g.constant(beta)])


def linear_activation(g: Graph, x: Symbol, alpha: float, beta: float = 0.0) -> str:
    return g.node("Add", [g.node("Mul", [x.name, g.constant(alpha)]), g.constant(beta)])


def scaled_tanh(g: Graph, x: Symbol, alpha: float, beta: float) -> str:
    inner = g.node("Tanh", [g.node("Mul", [x.name, g.constant(beta)])])
    return g.node("Mul", [inner, g.constant(alpha)])


def sigmoid_hard(g: Graph, x: Symbol, alpha: float = 0.2, beta: float = 0.5) -> str:
    return g.node("HardSigmoid", [x.name], alpha=alpha, beta=beta)


def thresholded_relu(g: Graph, x: Symbol, alpha: float) -> str:
    above = g.node("GreaterOrEqual", [x.name, g.constant(alpha)])
    return g.node("Where", [above, x.name, g.constant(0.0)])


LOWERINGS: dict[str, Any] = {
    **{name: unary(kind) for name, kind in UNARY.items()},
    **{name: binary(kind) for name, kind in BINARY.items()},
    "not_equal": not_equal,
    "floor_div": floor_div,
    "mod": mod,
    "select": select,
    "cast": cast,
    "square": square,
    "exp2": exp2,
    "inverse": inverse,
    "rsqrt": rsqrt,
    "log": log,
    "clip": clip,
    "threshold": threshold,
    "relu6": relu6,
    "silu": silu,
    "softmax": softmax,
    "gelu": gelu,
    "leaky_relu": leaky_relu,
    "elu": elu,
    "prelu": prelu,
    "clamped_relu": clamped_relu,
    "linear_activation": linear_activation,
    "scaled_tanh": scaled_tanh,
    "sigmoid_hard": sigmoid_hard,
    "thresholded_relu": thresholded_relu,
}
