"""Pieces of inputs that prove as much as the whole: their size, and where there is none."""

from __future__ import annotations

import pytest
import torch
from fuseport.reparam import capture
from fuseport.reparam.driver import LIMIT
from fuseport.reparam.proof import random_values, relative_error, run_float64, run_region
from fuseport.reparam.window import Window, window
from graphs import ready
from torch import Tensor, nn
from torch.fx import Node


class Positions(nn.Module):
    """A weight with positions is added behind a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.register_buffer("map", torch.randn(4, 20, 20))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) + self.map


class Gated(nn.Module):
    """A gate of one pixel, as of squeeze and excitation, beside a picture."""

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        return (x * gate.sigmoid()).relu()


class Strange(nn.Module):
    """Operators that know where they are."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.linear = kind, nn.Linear(20, 20)

    def forward(self, x: Tensor) -> Tensor:
        return {
            "mean": lambda: x.mean((2, 3), keepdim=True),
            "reshape": lambda: x.reshape(1, 4, 400),
            "softmax": lambda: x.softmax(-1),
            "transposed": lambda: self.linear(x.transpose(1, 2)),
            "cat": lambda: torch.cat([x, x], 2),
        }[self.kind]()


def _of(module: nn.Module, *inputs: Tensor) -> tuple[list[Node], list[Node]]:
    graph = capture(ready(module), inputs).graph
    return [node for node in graph.nodes if node.op == "call_function"], graph.find_nodes(op="placeholder")


PICTURE = torch.randn(1, 4, 20, 20)


@pytest.mark.parametrize(
    ("module", "side"),
    [
        (nn.Conv2d(4, 4, 1), 2),
        (nn.Conv2d(4, 4, 3, padding=1), 3),
        (nn.Conv2d(4, 4, 3, padding=1, stride=2), 4),
        (nn.Conv2d(4, 4, 3, padding=2, dilation=2), 5),
        (nn.Sequential(nn.Conv2d(4, 4, 3, stride=2), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1)), 8),
        (nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()), 3),
    ],
    ids=["1x1", "3x3", "strided", "dilated", "chain", "gate"],
)
def test_a_picture_as_large_as_the_windows_of_its_layers(module: nn.Module, side: int) -> None:
    calls, sources = _of(module, PICTURE)
    found = window(calls, sources)
    assert found is not None
    assert found.shape((1, 4, 20, 20)) == (1, 4, side, side)
    assert found.shape((1, 4, 1, 2)) == (1, 4, 1, 2)
    assert random_values(sources, 0, window=found)[sources[0]].shape == (1, 4, side, side)


def test_the_far_border_is_met_as_in_the_whole() -> None:
    """A stride of 2 over an odd side reads no padding at its end, over an even one it does: so must the piece."""
    found = Window(of_rows=False, extent=3, step=2)
    assert [found.shape((1, 1, side, side))[-1] % 2 for side in (20, 21)] == [0, 1]


@pytest.mark.parametrize("stride", [1, 2])
def test_every_tap_of_a_kernel_shows_on_the_piece(stride: int) -> None:
    module = ready(nn.Conv2d(2, 2, 3, padding=1, stride=stride))
    captured = capture(module, (PICTURE[:, :2],))
    calls = [node for node in captured.graph.nodes if node.op == "call_function"]
    found = window(calls, captured.graph.find_nodes(op="placeholder"))
    assert found is not None
    piece = found.of(PICTURE[:, :2])
    expected = run_float64(captured, [piece])
    kernels = module.weight.detach().flatten(2)  # pyright: ignore
    for tap in range(9):
        kernels[1, 0, tap] *= 1.001
        assert relative_error(expected, run_float64(captured, [piece])) > LIMIT
        kernels[1, 0, tap] /= 1.001


def test_rows_of_tokens_are_proven_on_a_few() -> None:
    calls, sources = _of(nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 4), nn.GELU()), torch.randn(1, 50, 8))
    found = window(calls, sources)
    assert found is not None
    assert found.of_rows
    assert found.shape((1, 50, 8)) == (1, 2, 8)


def test_a_gate_of_one_pixel_stays_one_beside_its_picture() -> None:
    gate = torch.randn(1, 4, 1, 1)
    calls, sources = _of(Gated(), PICTURE, gate)
    found = window(calls, sources)
    assert found is not None
    values = random_values(sources, 0, window=found)
    assert [tuple(value.shape[-2:]) for value in values.values()] == [(2, 2), (1, 1)]


def test_a_weight_with_positions_is_met_in_full() -> None:
    calls, sources = _of(Positions(), PICTURE)
    assert window(calls[:1], sources) is not None
    assert window(calls, sources) is None


@pytest.mark.parametrize("kind", ["mean", "reshape", "softmax", "transposed", "cat"])
def test_what_knows_its_place_is_met_in_full(kind: str) -> None:
    assert window(*_of(Strange(kind), PICTURE)) is None


def test_a_source_that_is_not_named_is_no_weight() -> None:
    calls, sources = _of(Gated(), PICTURE, torch.randn(1, 4, 1, 1))
    assert window(calls, sources) is not None
    assert window(calls, sources[:1]) is None


class Scaled(nn.Module):
    """A layer scale that is brought into shape where it is used."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.scale = nn.Conv2d(4, 4, 3, padding=1), nn.Parameter(torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) * self.scale.reshape(-1, 1, 1)


def test_what_is_made_of_weights_alone_is_one() -> None:
    found = window(*_of(Scaled(), PICTURE))
    assert found is not None
    assert found.shape((1, 4, 20, 20)) == (1, 4, 3, 3)


def test_pictures_of_other_sizes_are_met_in_full() -> None:
    calls, sources = _of(Gated(), PICTURE, torch.randn(1, 4, 20, 1))
    assert window(calls, sources) is None


def test_what_holds_on_the_piece_is_what_holds_in_the_middle_and_at_the_border() -> None:
    """The piece's outputs are outputs of the whole, wherever no window of the piece crosses its cut."""
    module = ready(nn.Conv2d(4, 4, 3, padding=1))
    captured = capture(module, (PICTURE,))
    (source,) = captured.graph.find_nodes(op="placeholder")
    (conv,) = (node for node in captured.graph.nodes if node.op == "call_function")
    found = window([conv], [source])
    assert found is not None
    (whole,) = run_region(captured, {source: PICTURE.double()}, (conv,))
    (piece,) = run_region(captured, {source: found.of(PICTURE).double()}, (conv,))
    assert relative_error([whole[..., :2, :2]], [piece[..., :2, :2]]) < 1e-14
