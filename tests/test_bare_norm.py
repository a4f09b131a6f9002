"""The weight and bias of a norm, apart from it: which norms have them, how they lie along the value, what is left."""

from __future__ import annotations

import pytest
import torch
from fuseport.reparam import capture
from fuseport.reparam.bare_norm import bare, of_norm
from fuseport.reparam.graph import copy_of
from fuseport.reparam.proof import run_region
from graphs import ready
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.nn import functional as F


def _norm(module: nn.Module, x: Tensor) -> tuple[GraphModule, Node]:
    work, _ = copy_of(capture(ready(module), (x,)))
    return work, next(node for node in work.graph.nodes if "norm" in str(node.target) and node.op == "call_function")


@pytest.mark.parametrize(
    ("norm", "shape", "along"),
    [
        (nn.LayerNorm(6), (2, 5, 6), (2,)),
        (nn.LayerNorm((5, 6)), (2, 5, 6), (1, 2)),
        (nn.LayerNorm(6, bias=False), (2, 5, 6), (2,)),
        (nn.GroupNorm(2, 6), (2, 6, 3, 4), (1,)),
        (nn.GroupNorm(3, 6), (2, 6, 7), (1,)),
        (nn.RMSNorm(6), (2, 5, 6), (2,)),
    ],
)
def test_the_norm_is_the_bare_norm_and_then_the_map(
    norm: nn.Module, shape: tuple[int, ...], along: tuple[int, ...]
) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    work, node = _norm(norm, x)
    map_ = of_norm(work, node)
    assert map_ is not None
    assert map_.varies_along() == along
    with work.graph.inserting_before(node):
        left = bare(work, node)
    values = {next(iter(work.graph.find_nodes(op="placeholder"))): x.double()}
    (whole,), (alone,) = (run_region(work, values, (one,)) for one in (node, left))
    torch.testing.assert_close(alone * map_.scale + map_.shift, whole, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(alone, whole)


class Computed(nn.Module):
    """A norm whose weight depends on the input: no fixed map."""

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, (6,), x[0, 0].exp(), None)


@pytest.mark.parametrize("module", [nn.LayerNorm(6, elementwise_affine=False), Computed(), nn.Softmax(-1)])
def test_a_norm_without_weight_a_computed_weight_and_other_layers_have_no_map(module: nn.Module) -> None:
    work, _ = copy_of(capture(ready(module), (torch.randn(2, 5, 6),)))
    assert all(of_norm(work, node) is None for node in work.graph.nodes)
