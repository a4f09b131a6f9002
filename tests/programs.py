"""Small captured programs for the tests of the formats."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

NAMES = {"input_names": ("image",), "output_names": ("logits",), "export_id": "0123456789abcdef"}

METADATA = {"author": "someone", "description": "a net", "license": "Apache-2.0", "version": "1.2", "weights": "random"}


class Net(nn.Module):
    """Pictures (N, 3, 8, 8) → logits (N, 5), through modules with names."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(1, 6)
        self.head = nn.Linear(6, 5)
        nn.init.normal_(self.norm.weight)
        nn.init.normal_(self.norm.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.stem(x)).relu().mean((2, 3)))


class TwoInTwoOut(Net):
    """The same with an offset (N, 5) as a second input, and the features (N, 6) as a second output."""

    def forward(self, x: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore
        features = self.norm(self.stem(x)).relu().mean((2, 3))
        return self.head(features) + offset, features


def captured(module: nn.Module, *inputs: Tensor, open_batch: bool = False) -> ExportedProgram:
    """The module as a program; with `open_batch` the first size of every input is open from 1 to 8."""
    shapes = tuple({0: Dim("batch", min=1, max=8)} for _ in inputs) if open_batch else None
    with torch.no_grad():
        return torch.export.export(module.eval(), inputs, dynamic_shapes=shapes)


def net(*, open_batch: bool = False) -> ExportedProgram:
    return captured(Net(), torch.zeros(2 if open_batch else 1, 3, 8, 8), open_batch=open_batch)
