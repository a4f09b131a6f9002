"""Means over positions in ONNX files: as global pooling where that is the same and as precise, else as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from fuseport.export.formats import to_onnx
from fuseport.export.request import Request
from torch import Tensor, nn


class Gate(nn.Module):
    def __init__(self, mean: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second, self.mean = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), mean

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return x * self.mean(self.second(x))


def written(module: nn.Module, target: Path, *, side: int = 12, opset: int | None = None) -> tuple[list[str], float]:
    """The operators of the file, and how far its output is from the module's, over the largest."""
    x = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    program = torch.export.export(module.eval(), (x,), strict=False)
    request = Request(opset=opset)
    to_onnx.convert(program, target, request, {}, input_names=("x",), output_names=("y",), export_id="pooled")
    (given,) = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"]).run(None, {"x": x.numpy()})
    expected = module(x).detach().numpy()
    error = float(np.abs(np.asarray(given) - expected).max() / np.abs(expected).max())
    return [node.op_type for node in onnx.load(target).graph.node], error


@pytest.mark.parametrize(("axes", "opset"), [((2, 3), 18), ((-1, -2), 20), ((2, 3), 23)])
def test_a_mean_over_positions_is_global_pooling(axes: tuple[int, int], opset: int, tmp_path: Path) -> None:
    module = Gate(lambda x: x.mean(axes, keepdim=True).sigmoid())
    operators, error = written(module, tmp_path / "m.onnx", opset=opset)
    assert "GlobalAveragePool" in operators
    assert "ReduceMean" not in operators
    assert error < 1e-6


def test_the_axes_are_no_longer_stored(tmp_path: Path) -> None:
    written(Gate(lambda x: x.mean((2, 3), keepdim=True)), tmp_path / "m.onnx")
    kept = {tensor.name for tensor in onnx.load(tmp_path / "m.onnx").graph.initializer}
    assert kept == {"first.weight", "first.bias", "second.weight", "second.bias"}


def others(x: Tensor) -> Tensor:
    """Axes that are dropped, channels, everything, tokens."""
    positions = x.mean((2, 3)).exp()[:, :, None, None]
    tokens = x.flatten(2).mean(2, keepdim=True)[..., None]
    return positions + x.mean(1, keepdim=True) * x.mean((1, 2, 3), keepdim=True) + tokens.exp()


@pytest.mark.parametrize(
    ("mean", "side", "count"),
    [(others, 12, 4), (lambda x: x.mean((2, 3), keepdim=True), 36, 1)],
    ids=["other axes", "a large map"],
)
def test_other_means_stay(mean: Callable[[Tensor], Tensor], side: int, count: int, tmp_path: Path) -> None:
    operators, error = written(Gate(mean), tmp_path / "m.onnx", side=side)
    assert operators.count("ReduceMean") == count
    assert "GlobalAveragePool" not in operators
    assert error < 1e-6
