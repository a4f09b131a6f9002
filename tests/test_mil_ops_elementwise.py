"""Functions of single elements, against numpy and the formulas of the documentation."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from fuseport.mil.ops import operator

X = torch.tensor([-2.5, -1.0, -0.5, 0.0, 0.3, 0.5, 1.5, 2.5], dtype=torch.float64)


def call(name: str, *arguments: object, opset: int = 8, **named: object) -> torch.Tensor:
    found = operator(name, opset)
    assert found is not None
    result = found.function(*arguments, **named)
    assert isinstance(result, torch.Tensor)
    return result


def same(found: torch.Tensor, expected: np.ndarray | torch.Tensor, tolerance: float = 1e-14) -> None:
    np.testing.assert_allclose(found.numpy(), np.asarray(expected), rtol=tolerance, atol=tolerance)


NUMPY: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "abs": np.abs,
    "atan": np.arctan,
    "ceil": np.ceil,
    "cos": np.cos,
    "cosh": np.cosh,
    "exp": np.exp,
    "exp2": np.exp2,
    "floor": np.floor,
    "identity": lambda x: x,
    "round": np.round,
    "sign": np.sign,
    "sin": np.sin,
    "sinh": np.sinh,
    "square": np.square,
    "tan": np.tan,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "logical_not": np.logical_not,
}


@pytest.mark.parametrize("name", NUMPY)
def test_unary(name: str) -> None:
    same(call(name, X), NUMPY[name](X.numpy()))


def test_unary_of_a_part_of_the_line() -> None:
    x = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    for name, expected in (("acos", np.arccos), ("asin", np.arcsin), ("atanh", np.arctanh), ("sqrt", np.sqrt)):
        same(call(name, x), expected(x.numpy()))
    same(call("erf", x), np.array([math.erf(v) for v in x]))


def test_epsilons_are_added_to_the_argument() -> None:
    x = torch.tensor([0.0, 0.01, 4.0], dtype=torch.float64)
    same(call("inverse", x, epsilon=0.1), 1 / (x + 0.1))
    same(call("inverse", x), 1 / (x + 1e-4))
    same(call("rsqrt", x, epsilon=0.1), 1 / (x + 0.1).sqrt())
    same(call("log", x, epsilon=0.1), (x + 0.1).log())


def test_halves_round_to_even() -> None:
    same(call("round", torch.tensor([-1.5, -0.5, 0.5, 1.5, 2.5])), np.array([-2.0, 0, 0, 2, 2]))


def test_cast() -> None:
    assert call("cast", X, "int32").tolist() == [-2, -1, 0, 0, 0, 0, 1, 2]
    assert call("cast", X, "bool").tolist() == [True, True, True, False, True, True, True, True]
    assert call("cast", torch.tensor([1, 300]), "fp32").tolist() == [1, 300]
    assert call("cast", torch.tensor([True, False]), "int32").tolist() == [1, 0]


def test_clip_and_threshold() -> None:
    same(call("clip", X, -0.7, 0.4), np.clip(X.numpy(), -0.7, 0.4))
    same(call("threshold", X, 0.4), np.maximum(X.numpy(), 0.4))


BINARY: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "real_div": np.divide,
    "floor_div": np.floor_divide,
    "mod": np.mod,
    "pow": np.power,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "equal": np.equal,
    "not_equal": np.not_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
}


@pytest.mark.parametrize("name", BINARY)
def test_binary_broadcasts(name: str) -> None:
    x = X.abs()[:, None]
    y = torch.tensor([[0.5, 1.5, 2.5]], dtype=torch.float64)
    same(call(name, x, y), BINARY[name](x.numpy(), y.numpy()))


def test_integers_divide() -> None:
    x, y = torch.tensor([7, -7, 7, -7]), torch.tensor([2, 2, -2, -2])
    assert call("real_div", x, y).tolist() == [3, -3, -3, 3]
    assert call("floor_div", x, y).tolist() == [3, -4, -4, 3]
    assert call("mod", x, y).tolist() == [1, 1, -1, -1]


def test_logic_and_select() -> None:
    a, b = torch.tensor([True, True, False, False]), torch.tensor([True, False, True, False])
    assert call("logical_and", a, b).tolist() == [True, False, False, False]
    assert call("logical_or", a, b).tolist() == [True, True, True, False]
    assert call("logical_xor", a, b).tolist() == [False, True, True, False]
    assert call("select", a, torch.tensor(1.0), torch.tensor([2.0] * 4)).tolist() == [1, 1, 2, 2]


def test_activations_with_parameters() -> None:
    x = X.numpy()
    negative = np.minimum(x, 0)
    positive = np.maximum(x, 0)
    same(call("leaky_relu", X, 0.1), positive + 0.1 * negative)
    same(call("clamped_relu", X, 0.1, 1.0), np.minimum(positive + 0.1 * negative, 1))
    same(call("elu", X, 1.5), positive + 1.5 * (np.exp(negative) - 1))
    same(call("linear_activation", X, 2.0, 0.5), 2 * x + 0.5)
    same(call("scaled_tanh", X, 1.7, 0.6), 1.7 * np.tanh(0.6 * x))
    same(call("sigmoid_hard", X, 0.2, 0.5), np.clip(0.2 * x + 0.5, 0, 1))
    same(call("thresholded_relu", X, 0.4), np.where(x >= 0.4, x, 0))


def test_channel_parameters_go_along_axis_1() -> None:
    x = torch.linspace(-2, 2, 24, dtype=torch.float64).reshape(2, 3, 4)
    alpha, beta = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64), torch.tensor([1.0, 2.0, 3.0]).double()
    a, b = alpha.numpy()[:, None], beta.numpy()[:, None]
    same(call("prelu", x, alpha), np.where(x >= 0, x, a * x.numpy()))
    same(call("softplus_parametric", x, alpha, beta), a * np.log1p(np.exp(b * x.numpy())))


def test_gelu_in_its_three_forms() -> None:
    x = X.numpy()
    exact = np.array([v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x])
    tanh = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    same(call("gelu", X), exact)
    same(call("gelu", X, mode="TANH_APPROXIMATION"), tanh)
    same(call("gelu", X, mode="SIGMOID_APPROXIMATION"), x / (1 + np.exp(-1.702 * x)))
    assert np.abs(exact - tanh).max() > 1e-4


def test_softplus_and_softmax_do_not_overflow() -> None:
    x = torch.tensor([-1000.0, 0.0, 1000.0])
    same(call("softplus", x), np.array([0, math.log(2), 1000]), 1e-6)
    same(call("softmax", x, axis=0), np.array([0.0, 0, 1]))
