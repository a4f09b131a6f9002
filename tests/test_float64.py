"""The model in float64 without a copy of it gives what its float64 copy gives, bit for bit, and holds less."""

from __future__ import annotations

import copy
import gc

import torch
from fuseport.models.loaded import load
from fuseport.reparam.float64 import wide_answers
from torch import Tensor, nn


def test_it_answers_as_a_copy_in_float64_does() -> None:
    module, images = load("shvit_s1", image_size=64).module, torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = copy.deepcopy(module).double()(images.double())
    (found,) = wide_answers(module, images)
    assert found.dtype == torch.float64
    assert torch.equal(found, expected)
    assert all(value.dtype == torch.float32 for value in module.parameters())


class Narrowing(nn.Module):
    """Asks for float32 in three ways, and fills a tensor that it made itself."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([1.0, 1 / 3]))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        filled = torch.zeros(2, dtype=torch.float32)
        filled[0] = x.float().sum()
        filled[1] = (x.to(torch.float32) * self.scale).sum()
        return filled / 3, torch.arange(3)


def test_no_operator_falls_back_to_float32_and_integers_stay() -> None:
    x = torch.tensor([0.1, 0.7], dtype=torch.float64)
    found, numbers = wide_answers(Narrowing(), x)
    third = torch.tensor(1 / 3, dtype=torch.float32).double()
    torch.testing.assert_close(found, torch.stack([x.sum(), x[0] + x[1] * third]) / 3, rtol=1e-15, atol=0)
    assert numbers.dtype == torch.int64


def test_no_weight_stays_wide() -> None:
    """Of ten layers one is in float64 at a time: what is alive is watched as each of them runs."""
    layers = nn.Sequential(*(nn.Linear(512, 512, bias=False) for _ in range(10))).eval()
    alive: list[int] = []

    def look(*_: object) -> None:
        wide = [held for held in gc.get_objects() if isinstance(held, Tensor) and held.dtype == torch.float64]
        alive.append(sum(held.nbytes for held in wide if held.numel() == 512 * 512))

    for layer in layers:
        layer.register_forward_hook(look)
    wide_answers(layers, torch.rand(1, 512))
    assert max(alive) <= 2 * 512 * 512 * 8
