"""An operator that reads a value and its transposition: converted right, as coremltools alone does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from fuseport import mil
from fuseport.export.formats import to_coreml
from fuseport.export.lowering import legalize as legalizing
from fuseport.export.lowering.own_transpose import keep_apart
from fuseport.export.request import Request
from programs import captured
from torch import Tensor, nn


class Turned(nn.Module):
    """Several functions of a transposed input."""

    def __init__(self, *functions: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.functions = functions

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(function(x.transpose(1, 2).relu()) for function in self.functions)


SQUARE: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda u: u @ u.transpose(1, 2),
    lambda u: u.permute(0, 2, 1) @ u,
    lambda u: u - u.mT,
    lambda u: torch.cat([u, u.clone().transpose(1, 2)], 1),
    lambda u: u.transpose(1, 2).sigmoid() * u,
    lambda u: (lambda high: torch.logical_and(high, high.transpose(1, 2)))(u > 0.5),
)


def worst(functions: tuple[Callable[[Tensor], Tensor], ...], folder: Path, columns: int) -> float:
    """The largest deviation of the saved package from PyTorch."""
    module, x = Turned(*functions), torch.randn(2, 4, columns, generator=torch.Generator().manual_seed(0))
    names = tuple(f"y{at}" for at in range(len(functions)))
    request = Request(precision="float32", deployment_target="iOS17")
    target = folder / "turned.mlpackage"
    to_coreml.convert(
        captured(module, x), target, request, {}, input_names=("x",), output_names=names, export_id="turned"
    )
    given = mil.load(target).predict({"x": x.numpy()}, mode="exact")
    pairs = zip(names, module(x), strict=True)
    return max(
        float(np.abs(given[name].astype(np.float64) - expected.double().numpy()).max()) for name, expected in pairs
    )


def test_square_ones_are_right(tmp_path: Path) -> None:
    assert worst(SQUARE, tmp_path, 4) < 1e-5


def test_oblong_products_are_right(tmp_path: Path) -> None:
    assert worst(SQUARE[:2], tmp_path, 6) < 1e-5


def test_coremltools_alone_gets_a_square_one_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison above can say no; if it no longer does, coremltools has mended its pass."""
    monkeypatch.setattr(legalizing, "keep_apart", lambda program: None)
    assert worst(SQUARE[:1], tmp_path, 4) > 0.1


class Once(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x @ x.transpose(1, 2)


class Others(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x.transpose(1, 2) @ y.transpose(1, 2)


@pytest.mark.parametrize(("module", "inputs"), [(Once(), 1), (Others(), 2)], ids=["alone", "of two values"])
def test_what_comes_through_right_is_left_alone(module: nn.Module, inputs: int) -> None:
    program = captured(module, *[torch.randn(2, 4, 4)] * inputs).run_decompositions({})
    before = str(program.graph)
    keep_apart(program)
    assert str(program.graph) == before
