"""Depthwise convolutions in float64 by taps, against torch's own."""

from __future__ import annotations

import pytest
import torch
from fuseport.reparam import capture
from fuseport.reparam.float64_conv import depthwise, is_depthwise
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
def test_it_is_what_torch_computes(
    kernel: tuple[int, int], side: tuple[int, int], rest: tuple[list[int], ...], copies: int, bias: bool
) -> None:
    x, weight = _draw(2, 6, *side), _draw(6 * copies, 1, *kernel)
    shift = _draw(6 * copies) if bias else None
    rest = (*rest, *([1], [0], [1])[len(rest) :], 6)  # pyright: ignore
    expected, given = CONV(x, weight, shift, *rest), depthwise(CONV, x, weight, shift, *rest)
    assert expected.shape == given.shape
    assert relative_error([expected], [given]) <= 1e-13


def test_a_kernel_larger_than_its_picture_is_torchs_error() -> None:
    with pytest.raises(RuntimeError, match="Kernel size"):
        depthwise(CONV, _draw(1, 2, 2, 2), _draw(2, 1, 3, 3), None, [1, 1], [0, 0], [1, 1], 2)


def _only_call(module: nn.Module, x: Tensor) -> Node:
    (call,) = (node for node in capture(module.eval(), (x,)).graph.nodes if node.op == "call_function")
    return call


@pytest.mark.parametrize(
    ("module", "is_one"),
    [
        (nn.Conv2d(4, 8, 3, groups=4), True),
        (nn.Conv2d(4, 4, 3), False),
        (nn.Conv2d(4, 4, 3, groups=2), False),
        (nn.Conv2d(4, 4, 3, groups=4, padding="same"), False),
        (nn.Conv2d(1, 1, 3), False),
    ],
)
def test_which_calls_it_stands_for(module: nn.Module, is_one: bool) -> None:
    x = torch.randn(1, next(module.parameters()).shape[1] * module.groups, 6, 6)  # pyright: ignore
    assert is_depthwise(_only_call(module, x)) is is_one


def test_a_graph_that_is_run_in_float64_takes_it() -> None:
    module = nn.Conv2d(4, 8, 3, groups=4, padding=1).eval()
    x = _draw(1, 4, 6, 6)
    captured = capture(module, (x.float(),))
    with torch.no_grad():
        assert relative_error(run_float64(captured, [x]), [module.double()(x)]) <= 1e-13
