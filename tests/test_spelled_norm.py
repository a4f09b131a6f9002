"""Norms that are spelled out: each usual spelling becomes layer_norm with its weight; what only looks so stays."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from fuseport.reparam import capture, spelled_norm
from graphs import folded, operators, ready
from torch import Tensor, nn

X = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(0))


class Norm(nn.Module):
    def __init__(self, formula: Callable[[Tensor], Tensor], *shape: int) -> None:
        super().__init__()
        self.formula, self.weight, self.bias = (
            formula,
            nn.Parameter(torch.empty(shape)),
            nn.Parameter(torch.empty(shape)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return (self.formula(x) * self.weight + self.bias).sin()


def by_mean(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    mean = x.mean(axes, keepdim=True)
    return (x - mean) / torch.sqrt((x - mean).pow(2).mean(axes, keepdim=True) + 1e-6)


def by_var(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    return (x - x.mean(axes, keepdim=True)) * torch.rsqrt(x.var(axes, unbiased=False, keepdim=True) + 1e-6)


def by_var_mean(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
    return torch.rsqrt(variance + 1e-6) * (x - mean)


def by_square(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    centred = x - x.mean(axes, keepdim=True)
    return centred / ((centred * centred).mean(axes, keepdim=True) + 1e-6) ** 0.5


@pytest.mark.parametrize("spelling", [by_mean, by_var, by_var_mean, by_square])
@pytest.mark.parametrize(
    ("axes", "shape", "moves"), [((-1,), (5,), 0), ((1, 2, 3), (4, 1, 1), 0), ((1,), (4, 1, 1), 2)]
)
def test_it_becomes_one_operator(
    spelling: Callable[..., Tensor], axes: tuple[int, ...], shape: tuple[int, ...], moves: int
) -> None:
    result = folded(Norm(lambda x: spelling(x, axes), *shape), X, rules=(spelled_norm,))
    expected = {"layer_norm": 1, "permute": moves, "sin": 1}
    assert operators(result) == {name: count for name, count in expected.items() if count}
    assert set(result.module.state_dict()) == {"weight", "bias"}


def test_a_map_that_the_norm_cannot_take_stays_behind_it() -> None:
    result = folded(Norm(lambda x: by_mean(x, (-1,)), 4, 1, 1), X, rules=(spelled_norm,))
    assert operators(result) == {"layer_norm": 1, "mul": 1, "add": 1, "sin": 1}


@pytest.mark.parametrize(
    "formula",
    [
        lambda x: (x - x.mean(1, keepdim=True)) / torch.sqrt(x.var(1, keepdim=True) + 1e-6),
        lambda x: (x - x.mean(1, keepdim=True)) / torch.sqrt(x.var(2, unbiased=False, keepdim=True) + 1e-6),
        lambda x: x / torch.sqrt(x.pow(2).mean(1, keepdim=True) + 1e-6),
        lambda x: (x - x.mean(1, keepdim=True)) / (x.var(1, unbiased=False, keepdim=True) + 1e-6),
        lambda x: (x - x.mean(1, keepdim=True)) * torch.sqrt(x.var(1, unbiased=False, keepdim=True) + 1e-6),
        lambda x: (2 * x - x.mean(1, keepdim=True)) / torch.sqrt(x.var(1, unbiased=False, keepdim=True) + 1e-6),
        lambda x: by_var(x, (2,)),
        lambda x: by_mean(x, (1,)) + x.mean(1, keepdim=True).exp(),
        lambda x: (
            (mean := x.mean(1, keepdim=True)) + (x - mean) / torch.sqrt(x.var(1, correction=0, keepdim=True) + 1e-6)
        ),
    ],
    ids=["n - 1", "other axes", "not centred", "no root", "times the root", "another value", "middle", "twice", "read"],
)
def test_what_only_looks_like_one_is_left_alone(formula: Callable[[Tensor], Tensor]) -> None:
    found = list(spelled_norm.find(capture(ready(Norm(formula, 1)), (X,))))
    assert len(found) <= 1
    assert not [match for match in found if match.outputs[0].name == "sin"]
