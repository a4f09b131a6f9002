"""An affine map inside a layer's weights, behind or in front of it, against the map applied; and why it is refused."""

from __future__ import annotations

import pytest
import torch
from fuseport.reparam import capture
from fuseport.reparam.affine import Affine, affine
from fuseport.reparam.graph import copy_of, tied
from fuseport.reparam.into_weights import (
    channel_axis,
    reads_padding,
    takes_outputs,
    why_not_inputs,
    why_not_stored,
    with_inputs,
    with_outputs,
)
from fuseport.reparam.proof import run_region
from graphs import ready
from torch import Tensor, nn
from torch.fx import GraphModule, Node

PICTURE, TOKENS = (2, 4, 6, 5), (2, 5, 4)
LAYERS: tuple[tuple[nn.Module, tuple[int, ...]], ...] = (
    (nn.Conv2d(4, 6, 3, stride=2, dilation=2), PICTURE),
    (nn.Conv2d(4, 8, (3, 1), groups=2, bias=False), PICTURE),
    (nn.Conv1d(4, 3, 2), (2, 4, 5)),
    (nn.Linear(4, 6), TOKENS),
    (nn.Linear(4, 6, bias=False), (2, 4)),
    (nn.BatchNorm2d(4), PICTURE),
    (nn.BatchNorm2d(4, affine=False), PICTURE),
)
OUTPUTS = (
    *LAYERS,
    (nn.Conv2d(4, 6, 3, padding=1), PICTURE),
    (nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2, output_padding=1), PICTURE),
    (nn.GroupNorm(2, 4), PICTURE),
    (nn.LayerNorm(4), TOKENS),
)


def _place(module: nn.Module, shape: tuple[int, ...]) -> tuple[GraphModule, Node, Node, Tensor]:
    """Graph, input, layer, and a value for the input."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    work, _ = copy_of(capture(ready(module), (x,)))
    (source,) = work.graph.find_nodes(op="placeholder")
    (layer,) = (node for node in work.graph.nodes if node.op == "call_function")
    return work, source, layer, x.double()


def _map(rank: int, axis: int, length: int) -> Affine:
    layout = [1] * rank
    layout[axis] = length
    generator = torch.Generator().manual_seed(1)
    scale, shift = (torch.randn(layout, generator=generator, dtype=torch.float64) for _ in range(2))
    return affine(scale, shift)


@pytest.mark.parametrize(("module", "shape"), OUTPUTS, ids=lambda given: type(given).__name__)
def test_behind_a_layer(module: nn.Module, shape: tuple[int, ...]) -> None:
    work, source, layer, x = _place(module, shape)
    axis = len(shape) - 1 if isinstance(module, nn.LayerNorm) else channel_axis(layer)
    (before,) = run_region(work, {source: x}, (layer,))
    map_ = _map(before.dim(), axis, before.shape[axis])
    assert takes_outputs(work, layer, map_)
    (after,) = run_region(work, {source: x}, (with_outputs(work, layer, map_),))
    torch.testing.assert_close(after, before * map_.scale + map_.shift, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("module", "shape"), LAYERS, ids=lambda given: type(given).__name__)
def test_in_front_of_a_layer(module: nn.Module, shape: tuple[int, ...]) -> None:
    work, source, layer, x = _place(module, shape)
    map_ = _map(len(shape), channel_axis(layer), 4)
    assert why_not_inputs(layer, source, map_) is None
    (expected,) = run_region(work, {source: x * map_.scale + map_.shift}, (layer,))
    (given,) = run_region(work, {source: x}, (with_inputs(work, layer, source, map_),))
    torch.testing.assert_close(given, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("module", "told"),
    [
        (nn.Conv2d(4, 6, 3, padding=1), "zero padding"),
        (nn.Conv2d(4, 6, 3, padding="same"), "zero padding"),
        (nn.ConvTranspose2d(4, 6, 3), "different numbers of taps"),
    ],
)
def test_a_shift_is_refused_where_not_every_tap_is_read(module: nn.Module, told: str) -> None:
    work, source, layer, x = _place(module, PICTURE)
    map_ = _map(4, 1, 4)
    assert told in str(why_not_inputs(layer, source, map_))
    scale = affine(map_.scale, torch.zeros_like(map_.shift))
    assert why_not_inputs(layer, source, scale) is None
    (expected,) = run_region(work, {source: x * scale.scale}, (layer,))
    (given,) = run_region(work, {source: x}, (with_inputs(work, layer, source, scale),))
    torch.testing.assert_close(given, expected, rtol=1e-12, atol=1e-12)


def test_a_map_along_another_axis_is_refused_on_either_side() -> None:
    work, source, layer, _ = _place(nn.Conv2d(4, 6, 3), PICTURE)
    assert not takes_outputs(work, layer, _map(4, 2, 4))
    assert "the channels are not the inputs" in str(why_not_inputs(layer, source, _map(4, 3, 5)))


@pytest.mark.parametrize(
    ("padding", "kernel", "reads"),
    [(0, 3, False), (1, 3, True), ("same", 3, True), ("same", 1, False), ("valid", 3, False)],
)
def test_which_convolutions_read_padding(padding: int | str, kernel: int, reads: bool) -> None:
    *_, layer, _ = _place(nn.Conv2d(4, 6, kernel, padding=padding), PICTURE)
    assert reads_padding(layer) is reads


def test_a_tied_and_a_computed_weight_are_refused() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)
            self.two.weight = self.one.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.two(self.one(x)) + nn.functional.linear(x, x[0])

    work, _ = copy_of(capture(ready(Both()), (torch.randn(2, 4, 4),)))
    reasons = [why_not_stored(work, node, tied(work)) for node in work.graph.nodes if "linear" in str(node.target)]
    assert [str(reason).rpartition(" is ")[2] for reason in reasons] == [
        "shared with another layer",
        "shared with another layer",
        "computed, not stored",
    ]
