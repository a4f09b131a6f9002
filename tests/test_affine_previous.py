"""Layer scales, attention scales and constants into the layer before them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from fuseport.reparam import affine_previous, capture, fold
from graphs import folded, ready
from torch import Tensor, nn

RULES = (affine_previous,)


class Then(nn.Module):
    """A layer, then a formula in its output y and a constant c."""

    def __init__(self, layer: nn.Module, formula: Callable[[Tensor, Tensor], Tensor], *constant: int) -> None:
        super().__init__()
        self.layer, self.formula = layer, formula
        self.register_buffer("c", torch.randn(constant))

    def forward(self, x: Tensor) -> Tensor:
        return self.formula(self.layer(x), self.c)


class Attention(nn.Module):
    """Heads laid out as in most vision transformers; the scale may come before or behind the product."""

    def __init__(self, *, scale_product: bool) -> None:
        super().__init__()
        self.qkv, self.scale_product = nn.Linear(8, 24), scale_product

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).reshape(2, 5, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        k = k.transpose(-2, -1)
        scores = (q @ k) * 0.5 if self.scale_product else (q * 0.5) @ k
        return (scores.softmax(-1) @ v).transpose(1, 2).reshape(2, 5, 8)


class Part(nn.Module):
    """Of three parts only one is scaled, by numbers of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(6, 9, 3, padding=1)
        self.register_buffer("scale", torch.randn(4, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        first, second, third = self.layer(x).flatten(2).split((2, 4, 3), dim=1)
        return first, second * self.scale, third.sigmoid()


conv = nn.Conv2d(6, 4, 3, padding=1)
PICTURE = (2, 6, 5, 5)
EXACT = {
    "layer scale": (Then(conv, lambda y, c: y * c, 4, 1, 1), PICTURE),
    "layer scale, no bias": (Then(nn.Conv2d(6, 4, 1, bias=False), lambda y, c: c * y, 1, 4, 1, 1), PICTURE),
    "constant": (Then(nn.Conv2d(6, 4, 1, bias=False), lambda y, c: y + c, 4, 1, 1), PICTURE),
    "constant of three": (Then(conv, lambda y, c: torch.add(y, c, alpha=3), 4, 1, 1), PICTURE),
    "from a constant": (Then(conv, lambda y, c: c - y, 4, 1, 1), PICTURE),
    "from three constants": (Then(conv, lambda y, c: torch.sub(c, y, alpha=3), 4, 1, 1), PICTURE),
    "quotient": (Then(conv, lambda y, c: y / c, 4, 1, 1), PICTURE),
    "number": (Then(conv, lambda y, c: y * 0.25, 1), PICTURE),
    "chain": (Then(conv, lambda y, c: ((y * c + 3) / -7 - c).neg(), 4, 1, 1), PICTURE),
    "transposed": (Then(nn.ConvTranspose2d(6, 4, 3, groups=2), lambda y, c: y * c + c, 4, 1, 1), PICTURE),
    "linear": (Then(nn.Linear(6, 4), lambda y, c: y * c, 4), (2, 3, 6)),
    "one picture": (Then(conv, lambda y, c: y * c, 4, 1, 1), (6, 5, 5)),
    "batch norm": (Then(nn.BatchNorm2d(6, affine=False), lambda y, c: y * c + c, 6, 1, 1), PICTURE),
    "layer norm": (Then(nn.LayerNorm(6), lambda y, c: y * c + c, 6), (2, 3, 6)),
    "group norm": (Then(nn.GroupNorm(2, 6), lambda y, c: y * c + c, 6, 1, 1), PICTURE),
    "moved": (Then(conv, lambda y, c: y.flatten(2).transpose(1, 2) * c, 4), PICTURE),
    "linear, then norm": (nn.Sequential(nn.Linear(6, 4), nn.Flatten(0, 1), nn.BatchNorm1d(4)), (2, 3, 6)),
    "pooled": (Then(conv, lambda y, c: y.mean((2, 3)) * c, 4), PICTURE),
    "pooled, kept": (nn.Sequential(conv, nn.AvgPool2d(2), nn.BatchNorm2d(4)), PICTURE),
    "scaled query": (Attention(scale_product=False), (2, 5, 8)),
    "scaled product": (Attention(scale_product=True), (2, 5, 8)),
    "part": (Part(), PICTURE),
    "per head": (Then(nn.Linear(6, 4), lambda y, c: y.reshape(2, 3, 2, 2).transpose(1, 2) * c, 2, 1, 1), (2, 3, 6)),
}


@pytest.mark.parametrize("kind", EXACT)
def test_the_map_is_folded(kind: str) -> None:
    module, shape = EXACT[kind]
    result = folded(module, torch.randn(shape), rules=RULES)
    assert not {"mul", "div", "add", "sub", "neg"} & result.after.operators.keys()
    assert result.after.batch_norms == (kind == "batch norm")
    assert result.after.nodes == result.before.nodes - len(result.rewrites)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.layer(x) * 3)


class Mixed(nn.Module):
    """The product is float64, the layer float32."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.register_buffer("c", torch.randn(4, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * self.c


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (Then(conv, lambda y, c: y * c, 5), PICTURE),
        (Then(conv, lambda y, c: y + c, 4, 5, 5), PICTURE),
        (Then(conv, lambda y, c: y.sigmoid() * c, 4, 1, 1), PICTURE),
        (Then(conv, lambda y, c: y.relu() * c, 4, 1, 1), PICTURE),
        (Then(conv, lambda y, c: c / y, 4, 1, 1), PICTURE),
        (Then(conv, lambda y, c: y * y * c + y, 4, 1, 1), PICTURE),
        (Then(conv, lambda y, c: y[:, :1] * c, 4, 1, 1), PICTURE),
        (Then(conv, lambda y, c: torch.div(y, c, rounding_mode="floor"), 4, 1, 1), PICTURE),
        (Then(conv, lambda y, c: y.softmax(1) * c, 4, 1, 1), PICTURE),
        (Tied(), (2, 4)),
        (Mixed(), (2, 4)),
    ],
)
def test_what_is_not_exact_is_left_alone(module: nn.Module, shape: tuple[int, ...]) -> None:
    result = fold(capture(ready(module), (torch.randn(shape),)), RULES)
    assert not result.rewrites
    assert result.after == result.before
