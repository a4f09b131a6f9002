"""Queries, keys and values taken one by one: split instead, in every usual spelling; and what cannot be."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from fuseport.reparam import capture, fold, unbound
from graphs import folded, operators, ready
from test_pooled import Apply
from torch import Tensor

X = torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(0))


def mixed(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q - 2 * k).sin() + 3 * v.exp()


TAKEN: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda x: mixed(*x.reshape(2, 5, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)),
    lambda x: mixed((y := x.reshape(2, 5, 3, 2, 4).permute(2, 0, 3, 1, 4))[-1], y[0], y[1]),
    lambda x: mixed(*x.unflatten(2, (3, 8)).unbind(2)),
    lambda x: mixed(*x.view(2, 5, 3, 8).unbind(-2)),
)


@pytest.mark.parametrize("formula", TAKEN)
def test_it_is_split(formula: Callable[[Tensor], Tensor]) -> None:
    result = folded(Apply(formula), X, rules=(unbound,))
    made = operators(result)
    assert made["split"] == made["reshape"] == 1
    assert not {"unbind", "select", "view"} & set(made)


@pytest.mark.parametrize(
    "formula",
    [
        lambda x: mixed(*x.reshape(2, 5, 8, 3).unbind(-1)),
        lambda x: torch.mul(*x.unbind(0)),
        lambda x: x.reshape(2, 5, 3, 8)[:, :, 0] + x.reshape(2, 5, 3, 8)[:, :, 2],
        lambda x: mixed(*(whole := x.reshape(2, 5, 3, 8)).unbind(2)) + whole.sum(),
        lambda x: mixed(*(grown := x.reshape(2, 5, 3, 2, 4)).permute(2, 0, 3, 1, 4).unbind(0)) + grown.sum(),
    ],
    ids=["nothing behind", "no reshape", "not every part", "the whole is read", "what is permuted is read"],
)
def test_others_are_left_alone(formula: Callable[[Tensor], Tensor]) -> None:
    assert not list(unbound.find(capture(ready(Apply(formula)), (X,))))


def test_an_open_batch_stays_open() -> None:
    module = ready(Apply(lambda x: mixed(*x.reshape(-1, 5, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0))))
    captured = capture(module, (X,), dynamic_shapes=(({0: torch.export.Dim("batch")},)))
    result = fold(captured, (unbound,))
    assert operators(result)["split"] == 1
    torch.testing.assert_close(result.module(X[:1]), module(X[:1]))
