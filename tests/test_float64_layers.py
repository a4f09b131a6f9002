"""Layers in float64 on small pieces, against torch's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fuseport.reparam import capture, float64_layers
from fuseport.reparam.float64_layers import is_taken, run
from fuseport.reparam.proof import relative_error, run_float64
from torch import Tensor, nn
from torch.fx import Node

CONV = torch.ops.aten.conv2d.default


def _draw(*size: int) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(sum(size)), dtype=torch.float64)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("kernel", "side", "rest", "copies"),
    [
        ((3, 3), (5, 5), ([1, 1], [1, 1]), 1),
        ((3, 3), (5, 6), ([2, 2], [1, 1]), 1),
        ((7, 7), (7, 4), ([1, 1], [3, 3]), 1),
        ((3, 5), (9, 8), ([2, 1], [1, 2], [2, 1]), 1),
        ((3, 3), (4, 4), ([1, 1], [1, 1], [1, 1]), 3),
        ((3, 3), (4, 4), ([1], [2], [1]), 1),
        ((2, 2), (4, 4), (), 1),
        ((3, 3), (20, 20), ([1, 1], [1, 1]), 1),
    ],
)
def test_a_depthwise_convolution_is_what_torch_computes(
    kernel: tuple[int, int], side: tuple[int, int], rest: tuple[list[int], ...], copies: int, bias: bool
) -> None:
    x, weight = _draw(2, 6, *side), _draw(6 * copies, 1, *kernel)
    shift = _draw(6 * copies) if bias else None
    rest = (*rest, *([1], [0], [1])[len(rest) :], 6)  # pyright: ignore
    expected, given = CONV(x, weight, shift, *rest), run(CONV, x, weight, shift, *rest)
    assert expected.shape == given.shape
    assert relative_error([expected], [given]) <= 1e-13


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("kernel", "side", "rest"),
    [
        ((3, 3), (3, 3), ([1, 1], [1, 1])),
        ((3, 3), (5, 6), ([2, 2], [1, 1])),
        ((3, 5), (9, 8), ([2, 1], [1, 2], [2, 1])),
        ((1, 1), (4, 2), ()),
        ((4, 4), (8, 4), ([4], [0], [1], 1)),
        ((3, 3), (20, 20), ([1, 1], [1, 1])),
    ],
)
def test_a_dense_convolution_is_what_torch_computes(
    kernel: tuple[int, int], side: tuple[int, int], rest: tuple[Any, ...], bias: bool
) -> None:
    x, weight, shift = _draw(2, 6, *side), _draw(5, 6, *kernel), _draw(5) if bias else None
    expected, given = CONV(x, weight, shift, *rest), run(CONV, x, weight, shift, *rest)
    assert expected.shape == given.shape
    assert relative_error([expected], [given]) <= 1e-13


@pytest.mark.parametrize("block", [1, 12, 2**18])
@pytest.mark.parametrize("stored", [torch.float32, torch.float64])
def test_a_weight_that_is_widened_in_blocks_is_what_it_is_as_a_whole(
    block: int, stored: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(float64_layers, "_BLOCK", block)
    x, weight, bias = _draw(2, 3, 6), _draw(5, 6).to(stored), _draw(5).to(stored)
    expected = torch.nn.functional.linear(x, weight.double(), bias.double())
    given = run(torch.ops.aten.linear.default, x, weight, bias)
    assert given.dtype == torch.float64
    assert relative_error([expected], [given]) <= 1e-13


def test_a_kernel_larger_than_its_picture_is_torchs_error() -> None:
    with pytest.raises(RuntimeError, match="Kernel size"):
        run(CONV, _draw(1, 2, 2, 2), _draw(2, 1, 3, 3), None, [1, 1], [0, 0], [1, 1], 2)


def _only_call(module: nn.Module, x: Tensor) -> Node:
    (call,) = (node for node in capture(module.eval(), (x,)).graph.nodes if node.op == "call_function")
    return call


@pytest.mark.parametrize(
    ("module", "is_one"),
    [
        (nn.Conv2d(4, 8, 3, groups=4), True),
        (nn.Conv2d(4, 4, 3), True),
        (nn.Conv2d(4, 4, 3, groups=2), False),
        (nn.Conv2d(4, 4, 3, groups=4, padding="same"), False),
        (nn.Conv2d(4, 4, 3, padding="same"), False),
    ],
)
def test_which_convolutions_it_stands_for(module: nn.Module, is_one: bool) -> None:
    x = torch.randn(1, next(module.parameters()).shape[1] * module.groups, 6, 6)  # pyright: ignore
    assert is_taken(_only_call(module, x)) is is_one


def test_a_graph_that_is_run_in_float64_takes_it() -> None:
    module = nn.Conv2d(4, 8, 3, groups=4, padding=1).eval()
    x = _draw(1, 4, 6, 6)
    captured = capture(module, (x.float(),))
    with torch.no_grad():
        assert relative_error(run_float64(captured, [x]), [module.double()(x)]) <= 1e-13
