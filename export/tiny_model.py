"""The tiny model that `fuseport doctor` takes through an export; all that is in it has been converted wrongly before.

A convolution with a batch norm to fold, an ELU and a GELU whose keyword arguments Core ML's converter drops if nobody
looks after them, a shape that is read at run time, and a classifier.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.nn import functional

from ..reparam import RULES, capture, fold
from . import FORMATS
from .artifact import NotRun
from .request import Request
from .saved.engines import engines


class Net(nn.Module):
    """(B, 3, 16, 16) → (B, 5)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.mix = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, image: Tensor) -> Tensor:
        x = functional.elu(self.norm(self.conv(image)), alpha=0.5)
        x = functional.gelu(self.mix(x), approximate="tanh")
        x = x.view(x.shape[0], x.shape[1], -1).mean(-1)
        return self.head(x)


@dataclass(frozen=True)
class Tiny:
    """The network, an input (1, 3, 16, 16), its answer in float64, and the program that the formats convert."""

    net: Net
    image: Tensor
    truth: Tensor
    program: ExportedProgram

    def error_of_folding(self) -> float:
        """Relative error of the folded program."""
        return self._error(self.program.module()(self.image).detach().numpy())

    def errors_of(self, name: str, folder: Path) -> dict[str, float]:
        """Engine → relative error of the file in this format, written to `folder` and opened again."""
        form = FORMATS[name]
        target = folder / f"tiny{form.SUFFIX}"
        names = {"input_names": ("image",), "output_names": ("logits",)}
        made = form.convert(self.program, target, Request(), {}, **names, export_id="doctor")
        feed = {"image": self.image.numpy()}
        opened = {engine.name: engine.open() for engine in engines(made)}
        return {name: self._error(run(feed)["logits"]) for name, run in opened.items() if not isinstance(run, NotRun)}

    def _error(self, made: np.ndarray) -> float:
        truth = self.truth.numpy()
        return float(np.linalg.norm(made.astype(np.float64) - truth) / np.linalg.norm(truth))


@cache
def tiny() -> Tiny:
    """Made once, the same on every machine."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        net = Net().eval()
        for name, statistic in net.norm.named_buffers():
            if statistic.is_floating_point():
                statistic.uniform_(-0.5 if name == "running_mean" else 0.5, 2.0)
        image = torch.rand(1, 3, 16, 16)
        folded = fold(capture(net, (image,)), RULES)
        program = torch.export.export(folded.module, (image,), strict=False)
        truth = copy.deepcopy(net).double()(image.double())
    return Tiny(net, image, truth, program)
