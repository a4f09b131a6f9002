"""What coremltools 9.0 converts without a word, and wrongly: the executor's answer differs from PyTorch's in each case.

Every case is converted as coremltools would have it, from `torch.export`. A case whose conversion is right again in a
later coremltools has no place here, so the tests are for 9.0 alone. Beside each stands where the fault was reported.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import mil_networks
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fuseport import mil
from torch import Tensor, nn

pytestmark = pytest.mark.skipif(not version("coremltools").startswith("9.0"), reason="faults of coremltools 9.0")

Function = Callable[..., Tensor]
INFINITY = float("inf")


class Wrapped(nn.Module):
    """A function as a module."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def disagreement(function: Function, example: tuple[Tensor, ...], folder: Path, precision: str = "float32") -> float:
    """Largest error of the converted function over 1 + |expected|; infinite for another shape, kind or a NaN."""
    module = Wrapped(function)
    path = mil_networks.convert(module, example, folder / "m.mlpackage", precision=precision)
    model = mil.load(path)
    given = {f"x{i}": x for i, x in enumerate(example)}
    (found,) = model.predict(given, allow_nan=True).values()
    expected = module(*example).numpy()
    found = found.reshape(expected.shape) if found.size == expected.size == 1 else found
    if found.shape != expected.shape or (found.dtype.kind in "iub") != (expected.dtype.kind in "iub"):
        return INFINITY
    both = np.isnan(found) & np.isnan(expected) if expected.dtype.kind == "f" else np.zeros(expected.shape, bool)
    same = (found == expected) | both
    with np.errstate(invalid="ignore"):
        error = np.abs(found.astype(np.float64) - expected) / (1 + np.abs(expected.astype(np.float64)))
    worst = float(np.where(same, 0.0, error).max())
    return worst if np.isfinite(worst) else INFINITY


IMAGE = draw(1, 2, 17, 13)
FAULTS: dict[str, tuple[Function, tuple[Tensor, ...]]] = {
    "alpha of sub, #2573": (lambda x, y: torch.sub(x, y, alpha=5), (draw(2, 3), draw(2, 3) + 1)),
    "alpha of add, #2573": (lambda x, y: torch.add(x, y, alpha=3), (draw(2, 3), draw(2, 3) + 1)),
    "floor_divide by one, #2762": (lambda x: torch.floor_divide(x, 1.0) + 1, (draw(2, 3) * 3,)),
    "div by one to the floor, #2762": (lambda x: torch.div(x, 1.0, rounding_mode="floor") + 1, (draw(2, 3) * 3,)),
    "triu of infinities, #2771": (lambda x: torch.triu(x, 1), (torch.full((3, 3), -INFINITY),)),
    "tril of infinities, #2771": (lambda x: torch.tril(x, -1), (torch.full((3, 3), INFINITY),)),
    "atan2 on the negative axis, #2769": (torch.atan2, (torch.zeros(3), torch.tensor([-1.0, -3.0, 2.0]))),
    "diagonal, #2565": (torch.diagonal, (draw(5, 5),)),
    "reciprocal, #2773": (torch.reciprocal, (torch.tensor([1e-3, 1e-2, 5.0]),)),
    "one over x, #2773": (lambda x: 1.0 / x, (torch.tensor([1e-3, 1e-2, 5.0]),)),
    "antialiased bilinear, executorch #5728": (
        lambda x: F.interpolate(x, size=(7, 7), mode="bilinear", antialias=True),
        (draw(1, 2, 28, 28),),
    ),
    "nearest by a fraction": (lambda x: F.interpolate(x, scale_factor=1.7, mode="nearest"), (IMAGE,)),
    "tanh of gelu, #2863": (lambda x: F.gelu(x, approximate="tanh"), (draw(3, 9),)),
    "log_softmax of large logits, #2728": (lambda x: F.log_softmax(x, 1), (draw(1, 8, 5) * 60,)),
    "argmax of everything, executorch #11715": (torch.argmax, (draw(3, 4),)),
    "floor of an integer quotient, #2733": (
        lambda x: torch.div(x, 2, rounding_mode="floor"),
        (torch.tensor([7, -7, 3], dtype=torch.int32),),
    ),
}
HALF_FAULTS: dict[str, tuple[Function, tuple[Tensor, ...]]] = {
    "mask of the smallest float32, #2669": (
        lambda x: torch.softmax(x + torch.full((4, 4), torch.finfo(torch.float32).min), -1),
        (draw(4, 4),),
    ),
    "sum of squares beyond float16": (lambda x: (x * x).sum((2, 3)).sqrt(), (draw(1, 2, 56, 56).abs() * 8,)),
}
RIGHT: dict[str, tuple[Function, tuple[Tensor, ...]]] = {
    "sub": (torch.sub, (draw(2, 3), draw(2, 3) + 1)),
    "triu": (lambda x: torch.triu(x, 1), (draw(3, 3),)),
    "bilinear": (lambda x: F.interpolate(x, size=(7, 7), mode="bilinear"), (draw(1, 2, 28, 28),)),
    "nearest by two": (lambda x: F.interpolate(x, scale_factor=2.0, mode="nearest"), (IMAGE,)),
    "gelu": (F.gelu, (draw(3, 9),)),
    "argmax of an axis": (lambda x: torch.argmax(x, 1), (draw(3, 4),)),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_wrong_conversion_is_seen(tmp_path: Path, name: str) -> None:
    assert disagreement(*FAULTS[name], tmp_path) > 1e-4


@pytest.mark.parametrize("name", HALF_FAULTS)
def test_a_float16_program_that_overflows_is_seen(tmp_path: Path, name: str) -> None:
    assert disagreement(*HALF_FAULTS[name], tmp_path, "float16") > 1e-1


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_conversion_is_not_blamed(tmp_path: Path, name: str) -> None:
    assert disagreement(*RIGHT[name], tmp_path) < 1e-5
