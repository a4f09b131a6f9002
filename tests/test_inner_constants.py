"""The numbers inside operators, rounded as a float16 file stores them; operators without any are left as they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fuseport.export.proof.inner_constants import half, with_rounded_constants
from torch import Tensor

aten = torch.ops.aten
X = torch.linspace(-4, 4, 101, dtype=torch.float64)


def called(target: object, *args: object, **kwargs: object) -> Tensor:
    function, given, named = with_rounded_constants(target, args, kwargs)  # pyright: ignore
    return function(*given, **named)


def test_a_number_too_small_becomes_the_smallest() -> None:
    assert half(0.1) == float(np.float16(0.1))
    assert half(1e-12) == 2**-24
    assert half(-1e-12) == -(2**-24)
    assert half(0.0) == 0.0


@pytest.mark.parametrize(
    ("target", "args"),
    [
        (aten.mul.Tensor, (X, 0.3)),
        (aten.hardswish.default, (X,)),
        (aten.hardsigmoid.default, (X,)),
        (aten.leaky_relu.default, (X, 0.01)),
    ],
)
def test_constants_are_rounded_and_nothing_else(target: object, args: tuple[object, ...]) -> None:
    found, exact = called(target, *args), target(*args)  # pyright: ignore
    error = float((found - exact).norm() / exact.norm())
    assert 1e-6 < error < 5e-4


def test_the_scale_of_attention_that_pytorch_leaves_out() -> None:
    q = torch.randn(1, 2, 5, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    attention = aten.scaled_dot_product_attention.default
    found = called(attention, q, q, q)
    assert torch.equal(found, attention(q, q, q, scale=half(24**-0.5)))
    assert not torch.equal(found, attention(q, q, q))


def test_an_operator_without_constants_and_the_scale_of_a_resize() -> None:
    assert torch.equal(called(aten.relu.default, X), torch.relu(X))
    picture = torch.rand(1, 1, 3, 3)
    resized = called(aten.upsample_nearest2d.vec, picture, None, [4.3334, 4.3334])
    assert resized.shape == (1, 1, 13, 13)


def test_infinities_stay() -> None:
    assert called(aten.clamp.default, X, float("-inf"), 1.5).max() == 1.5
