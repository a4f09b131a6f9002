"""Small networks with the layers of vision models, converted by coremltools to packages for the executor's tests."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Mixed(nn.Module):
    """Convolutions, depthwise residuals, attention over pixels, an MLP, pooling: (N, 3, 16, 16) → (N, 10).

    Epsilons and scales are powers of two, which float16 holds exactly; weights are drawn so that all of them matter.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.point = nn.Conv2d(16, 16, 1)
        self.norm = nn.LayerNorm(16, eps=2**-10)
        self.qkv = nn.Linear(16, 48)
        self.project = nn.Linear(16, 16)
        self.gate = nn.Linear(16, 32)
        self.down = nn.Linear(16, 16)
        self.head = nn.Linear(32, 10)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in self.parameters():
                fan_in = parameter[0].numel() if parameter.ndim > 1 else 4
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / fan_in**0.5)
            self.norm.weight.add_(1.0)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.stem(x))
        x = x + self.point(F.leaky_relu(self.depthwise(x), 0.25))  # no dead channel: every weight shows
        tokens = x.flatten(2).transpose(1, 2)
        tokens = tokens + self.attend(self.norm(tokens))
        first, second = self.gate(tokens).chunk(2, -1)
        tokens = tokens + self.down(first * torch.sigmoid(second))
        pooled = F.max_pool2d(tokens.transpose(1, 2).reshape(-1, 16, 8, 8), 3, 2, 1)
        both = torch.cat([pooled.mean((2, 3)), tokens[:, 3:-2].mean(1) - tokens[:, 0]], 1)
        return self.head(both)

    def attend(self, tokens: Tensor) -> Tensor:
        q, k, v = self.qkv(tokens).chunk(3, -1)
        weights = torch.softmax(q @ k.transpose(1, 2) * 0.25, -1)
        return self.project(weights @ v)


def inputs(count: int = 2) -> Tensor:
    """Smooth pictures (count, 3, 16, 16) whose values float16 holds exactly."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.randn(count, 3, 4, 4, generator=generator)
    return F.interpolate(coarse, size=(16, 16), mode="bilinear").half().float()


def rounded_weights(module: nn.Module) -> nn.Module:
    """The module with its weights as a float16 package stores them."""
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(tensor.half())
    return module


def convert(
    module: nn.Module, example: tuple[Tensor, ...], path: Path, *, precision: str = "float32", target: str = "iOS17"
) -> Path:
    """Save `module` as a package at `path` by torch.export and coremltools, which say nothing of it."""
    logging.getLogger("coremltools").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(module.eval(), example).run_decompositions({})
        types = [ct.TensorType(name=f"x{i}", shape=t.shape, dtype=_dtype(t)) for i, t in enumerate(example)]
        options: dict[str, Any] = {
            "minimum_deployment_target": ct.target[target],
            "compute_precision": ct.precision[precision.upper()],
            "skip_model_load": True,
        }
        model: Any = ct.convert(program, inputs=types, **options)
        model.save(str(path))
    return path


def _dtype(tensor: Tensor) -> type:
    return np.float32 if tensor.is_floating_point() else np.int32


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """||found - expected|| / ||expected||, infinite where found is not finite."""
    difference = found.astype(np.float64) - expected
    size = float(np.linalg.norm(difference) / np.linalg.norm(expected))
    return size if np.isfinite(size) else float("inf")
