"""f(A(x)) = A'(f(x)), with the A' that `carried` finds for A, and with the A that `pulled` finds for A'."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from fuseport.reparam import capture
from fuseport.reparam.affine import Affine, affine
from fuseport.reparam.passage import carried, pulled
from fuseport.reparam.reshaping import BlockedError
from graphs import Apply
from torch import Tensor
from torch.fx import Node
from torch.nn import functional as F

OPERATORS: dict[str, Callable[[Tensor], Tensor]] = {
    "permute": lambda x: x.permute(0, 2, 3, 1),
    "transpose": lambda x: x.transpose(1, -1),
    "flatten": lambda x: x.flatten(1),
    "unflatten": lambda x: x.unflatten(1, (2, 3)),
    "unsqueeze": lambda x: x.unsqueeze(1),
    "mean": lambda x: x.mean((2, 3)),
    "mean, kept": lambda x: x.mean(-1, keepdim=True),
    "average": lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, 2),
    "resized": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "clone": lambda x: x.clone(),
}


def _nodes(formula: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Node, Node]:
    graph = capture(Apply(formula).eval(), (x,)).graph
    return graph.find_nodes(op="placeholder")[0], graph.output_node().all_input_nodes[0]


def _random_map(layout: tuple[int, ...], *, shifted: bool = True) -> Affine:
    scale = torch.randn(layout, dtype=torch.float64)
    return affine(scale, torch.randn_like(scale) * shifted)


def _assert_same(formula: Callable[[Tensor], Tensor], x: Tensor, before: Affine, after: Affine) -> None:
    expected = formula(x * before.scale + before.shift)
    torch.testing.assert_close(formula(x) * after.scale + after.shift, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", OPERATORS)
def test_a_map_is_carried(kind: str) -> None:
    x = torch.randn(2, 6, 4, 4, dtype=torch.float64)
    before, node = _nodes(OPERATORS[kind], x)
    map_ = _random_map((1, 6, 1, 1))
    _assert_same(OPERATORS[kind], x, map_, carried(node, before, map_))


@pytest.mark.parametrize("kind", OPERATORS)
def test_a_map_is_pulled(kind: str) -> None:
    x = torch.randn(2, 6, 4, 4, dtype=torch.float64)
    before, node = _nodes(OPERATORS[kind], x)
    map_ = carried(node, before, _random_map((1, 6, 1, 1)))  # of the layout that the output has
    ((source, found),) = pulled(node, map_)
    assert source is before
    _assert_same(OPERATORS[kind], x, found, map_)


@pytest.mark.parametrize(
    ("formula", "layout", "shifted", "reason"),
    [
        (lambda x: x.sigmoid(), (1, 6, 1, 1), False, "does not commute"),
        (lambda x: x.relu(), (1, 6, 1, 1), False, "does not commute"),
        (lambda x: x.mean((1, 2)), (1, 6, 1, 1), False, "channels themselves are averaged"),
        (lambda x: F.avg_pool2d(x, 2), (1, 1, 4, 1), False, "mixes the places"),
        (lambda x: F.avg_pool2d(x, 3, 2, 1), (1, 6, 1, 1), True, "zero padding"),
        (lambda x: F.max_pool2d(x, 2), (1, 6, 1, 1), False, "negative scale"),
        (lambda x: x * x, (1, 6, 1, 1), False, "reads it twice"),
        (lambda x: x @ x.detach(), (1, 6, 1, 1), True, "shift"),
        (lambda x: x.unsqueeze(0) * x.detach(), (1, 6, 1, 1), True, "shift"),
        (lambda x: 1 / x.detach() / x, (1, 6, 1, 1), False, "divisor"),
        (lambda x: x.softmax(1), (1, 6, 1, 1), False, "does not commute"),
    ],
)
def test_what_does_not_commute_blocks(
    formula: Callable[[Tensor], Tensor], layout: tuple[int, ...], shifted: bool, reason: str
) -> None:
    before, node = _nodes(formula, torch.randn(2, 6, 4, 4, dtype=torch.float64))
    if before not in node.all_input_nodes:
        before = next(read for read in node.all_input_nodes if read.args[0] is before)
    torch.manual_seed(0)
    map_ = _random_map(layout, shifted=shifted)
    assert bool((map_.scale < 0).any())
    with pytest.raises(BlockedError, match=reason):
        carried(node, before, map_)


def test_a_scale_goes_into_either_factor_that_varies_with_it() -> None:
    x = torch.randn(2, 6, 4, 4, dtype=torch.float64)
    graph = capture(Apply(lambda x: x.relu() @ x.sigmoid()).eval(), (x,)).graph
    product = graph.output_node().all_input_nodes[0]
    left, right = product.args
    places = {"rows": (1, 1, 4, 1), "columns": (1, 1, 1, 4), "channels": (1, 6, 1, 1), "number": (1, 1, 1, 1)}
    found = {
        name: [node for node, _ in pulled(product, _random_map(layout, shifted=False))]
        for name, layout in places.items()
    }
    assert found == {"rows": [left], "columns": [right], "channels": [left, right], "number": [left, right]}
    assert not list(pulled(product, _random_map((1, 1, 1, 1))))
