"""Operators on tensors of six dimensions, said in five: the same function, and no such tensor is left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fuseport import mil
from fuseport.export.artifact import NotConverted
from fuseport.export.formats import to_coreml
from fuseport.export.lowering.legalize import legalize
from fuseport.export.lowering.ranks import RANKED, too_many
from fuseport.export.request import Request
from programs import captured
from test_rewrites import Of, operators, random, wide
from torch import Tensor, nn

SIX = (2, 3, 2, 1, 4, 5)
LARGE = (2, 3, 2, 3, 2, 3)


def of_six(function: Callable[[Tensor], Any], *shape: int) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
    """A function of a tensor of six dimensions, made inside from a vector and flattened again."""
    shape = shape or SIX

    def flat(x: Tensor) -> Tensor:
        result = function(x.reshape(shape))
        parts = result if isinstance(result, list | tuple) else (result,)
        return torch.cat([part.flatten() for part in parts])

    return flat, (random(int(np.prod(shape))),)


WEIGHT, BIAS, ROW = random(7, 5, seed=1), random(7, seed=2), random(4, 1, seed=3)
MATRICES = random(2, 3, 2, 5, 3, seed=4)
CASES: dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...]]] = {
    "permute": of_six(lambda x: x.permute(0, 4, 2, 3, 1, 5)),
    "permute, all apart": of_six(lambda x: x.permute(5, 3, 1, 4, 2, 0), *LARGE),
    "permute, windows": of_six(lambda x: x.permute(0, 1, 3, 2, 4, 5), *LARGE),
    "transpose": of_six(lambda x: x.transpose(-1, 1)),
    "a view of a permutation": of_six(lambda x: x.transpose(0, 1).contiguous().view(6, 2, 20)),
    "add, broadcast": of_six(lambda x: 2 * x + ROW.to(x)),
    "where": of_six(lambda x: torch.where(x > 0, x, -x)),
    "gelu": of_six(F.gelu),
    "gelu, tanh": of_six(lambda x: F.gelu(x, approximate="tanh")),
    "add, alpha": of_six(lambda x: torch.add(x, x[:1], alpha=3)),
    "expand": of_six(lambda x: x[:, :1].expand(-1, 6, -1, 2, -1, -1)),
    "mean": of_six(lambda x: x.mean((1, 4))),
    "mean, kept": of_six(lambda x: x.mean((1, -1), keepdim=True)),
    "amax": of_six(lambda x: x.amax(2)),
    "softmax": of_six(lambda x: x.softmax(2)),
    "slice": of_six(lambda x: x[:, :, :, :, 1::2]),
    "select": of_six(lambda x: x[:, 1]),
    "unbind": of_six(lambda x: x.unbind(1)),
    "split": of_six(lambda x: x.split([1, 3], 4)),
    "chunk": of_six(lambda x: x.chunk(2, -2)),
    "cat": of_six(lambda x: torch.cat([x, x[:, :1]], 1)),
    "stack": of_six(lambda x: torch.stack([x.flatten(0, 1), x.flatten(0, 1) + 1], 2)),
    "roll": of_six(lambda x: x.roll((1, 2), (1, 4))),
    "linear": of_six(lambda x: F.linear(x, WEIGHT.to(x), BIAS.to(x))),
    "layer_norm": of_six(lambda x: F.layer_norm(x, (4, 5))),
    "matmul": of_six(lambda x: x @ MATRICES.to(x).unsqueeze(3)),
    "matmul, broadcast": of_six(lambda x: x @ MATRICES[:, :1].to(x).unsqueeze(3)),
    "attention": of_six(lambda x: F.scaled_dot_product_attention(x, x, x)),
    "unsqueeze and squeeze": of_six(lambda x: x.unsqueeze(2).squeeze(4)),
}


@pytest.fixture(scope="module")
def in_float64() -> dict[str, Tensor]:
    cases = [(function, wide(own)) for function, own in CASES.values()]
    program = captured(Of(*cases), *(value for _, own in cases for value in own))
    assert any(too_many(node) for node in program.graph.nodes)
    legal = legalize(program)
    assert not any(too_many(node) for node in legal.graph.nodes)
    return dict(zip(CASES, legal.module()(*(value for _, own in cases for value in own)), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_it_is_the_same_function(in_float64: dict[str, Tensor], name: str) -> None:
    function, inputs = CASES[name]
    torch.testing.assert_close(in_float64[name], function(*wide(inputs)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["permute, all apart", "attention"])
def test_the_saved_package_is_the_same_function(tmp_path: Path, name: str) -> None:
    function, (x,) = CASES[name]
    request, target = Request(precision="float32"), tmp_path / "six.mlpackage"
    names = {"input_names": ("x",), "output_names": ("y",), "export_id": ""}
    to_coreml.convert(captured(Of((function, (x,))), x), target, request, {}, **names)
    given = mil.load(target).predict({"x": x.numpy()}, mode="exact")["y"]
    np.testing.assert_allclose(given, function(x).numpy(), rtol=1e-5, atol=1e-6)


def test_tensors_of_five_dimensions_are_left_alone() -> None:
    x = random(2, 3, 2, 4, 5)
    program = captured(Of((lambda x: x.transpose(1, 2).softmax(-1).mean((1, 3)), (x,))), x)
    assert operators(legalize(program)) == operators(program) <= {*RANKED}


class Windows(nn.Module):
    """(N, 6, 8, 5) to (N, 12, 7), by way of windows."""

    def forward(self, x: Tensor) -> Tensor:
        cut = x.reshape(x.shape[0], 3, 2, 4, 2, 5).transpose(2, 3)
        return (F.linear(cut, WEIGHT).softmax(-1) + 1).reshape(x.shape[0], 12, 4, 7).mean(2)


def test_an_open_batch_stays_open() -> None:
    legal, x = legalize(captured(Windows(), random(2, 6, 8, 5), open_batch=True)), random(3, 6, 8, 5, seed=1)
    assert not any(too_many(node) for node in legal.graph.nodes)
    torch.testing.assert_close(legal.module()(x), Windows()(x))


class Mirrored(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(SIX).flip(1).flatten()


def test_what_has_no_form_in_five_names_operator_module_and_line() -> None:
    told = r"at most 5 dimensions, but flip of 0 \(tests/test_ranks.py:\d+\) works on \(2, 3, 2, 1, 4, 5\)"
    with pytest.raises(NotConverted, match=told):
        legalize(captured(nn.Sequential(Mirrored()), random(240)))
