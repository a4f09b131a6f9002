from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from fuseport.export.formats import to_onnx
from fuseport.export.request import Request
from torch import Tensor, nn


class Named(nn.Module):
    """A parameter, a buffer and values of the same names; `mul` is made of weights alone, `add` is the output."""

    sub: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.mul = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
        self.add = nn.Parameter(torch.tensor([4.0, 5.0, 6.0]))
        self.register_buffer("sub", torch.tensor([7.0, 8.0, 9.0]))

    def forward(self, x: Tensor) -> Tensor:
        squares = self.sub * self.sub
        return x * squares - self.mul + self.add


@pytest.fixture
def program() -> torch.export.ExportedProgram:
    return torch.export.export(Named().eval(), (torch.ones(1, 3),), strict=False)


def test_a_value_is_not_a_weight_of_its_name(program: torch.export.ExportedProgram, tmp_path: Path) -> None:
    assert {"mul", "add", "sub"} <= {node.name for node in program.graph.nodes}
    names = {"input_names": ("x",), "output_names": ("y",), "export_id": "test"}
    artifact = to_onnx.convert(program, tmp_path / "named.onnx", Request(), {}, **names)
    x = np.array([[1.0, -2.0, 0.5]], np.float32)
    expected = program.module()(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(to_onnx.runner(artifact)({"x": x})["y"], expected, rtol=1e-6)


def test_other_names_stay(program: torch.export.ExportedProgram, tmp_path: Path) -> None:
    names = {"input_names": ("sub",), "output_names": ("add",), "export_id": "test"}
    to_onnx.convert(program, tmp_path / "named.onnx", Request(simplify=False), {}, **names)
    graph = onnx.load(tmp_path / "named.onnx").graph
    assert [value.name for value in (*graph.input, *graph.output)] == ["sub", "add"]
    called = [value.name for value in (*graph.initializer, *graph.input)]
    called += [name for node in graph.node for name in node.output]
    assert len(set(called)) == len(called)
