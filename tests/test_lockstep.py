"""The proof of the whole: what it sees that the outputs do not show, and what it does not mistake for a fault."""

from __future__ import annotations

import math

import pytest
import torch
from fuseport.reparam import RULES, FoldError, capture, driver, fold
from fuseport.reparam.graph import copy_of
from fuseport.reparam.lockstep import deviation
from fuseport.reparam.proof import relative_error, run_float64
from graphs import ready
from test_rules_fuzz import off_by
from torch import Tensor, nn
from torch.fx import GraphModule, Node


class Star(nn.Module):
    """Products of branches, one upon another, as in StarNet (arXiv 2403.19967): each amplifies roundings."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.left, self.right = (nn.ModuleList(nn.Conv2d(4, 4, 1) for _ in range(depth)) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        for left, right, norm in zip(self.left, self.right, self.norms, strict=True):
            x = (norm(left(x)) * right(x) * 30).sin()
        return x


class Damped(nn.Module):
    """A branch whose scale is so small that no output shows what is wrong in it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm(self.conv(x)).tanh() * 1e-9


def _pair(module: nn.Module) -> tuple[GraphModule, GraphModule, dict[Node, Node], Tensor]:
    x = torch.randn(1, 4, 5, 5, generator=torch.Generator().manual_seed(1))
    captured = capture(ready(module), (x,))
    return captured, *copy_of(captured), x


def test_roundings_that_the_model_amplifies_are_no_deviation() -> None:
    captured, _, _, x = _pair(Star(12))
    result = fold(captured, RULES)
    assert result.error < 1e-12
    assert result.after.batch_norms == 0
    x = x.double()
    assert relative_error(run_float64(captured, [x]), run_float64(captured, [x * (1 + 1e-14)])) > 1e-2


@pytest.mark.parametrize("module", [Star(12), Damped()], ids=["amplifies", "damps"])
def test_a_wrong_rewrite_is_caught_where_outputs_do_not_tell(
    module: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the proofs of single rewrites switched off: one layer off by a millionth, and the outputs are no judge."""
    captured, *_ = _pair(module)
    monkeypatch.setattr(driver, "LIMIT", math.inf)
    with pytest.raises(FoldError, match=r"deviates from the captured one by 1\.\de-06"):
        fold(captured, tuple(off_by(rule, 1e-6) for rule in RULES if rule.NAME == "conv-bn"))


def test_an_output_that_nobody_claims_is_compared_by_its_value() -> None:
    captured, work, origin, x = _pair(Damped())
    last = work.graph.output_node().args[0][0]  # pyright: ignore
    del origin[last]
    assert deviation(captured, work, origin, [x]) == 0
    assert isinstance(last, Node)
    last.args = (last.args[0], last.args[0])
    assert deviation(captured, work, origin, [x]) > 0.1


def test_swapped_and_missing_outputs_are_seen() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x.exp(), x.sin()

    for args, expected in (((1, 0), 0.1), ((0,), math.inf), ((0, None), math.inf)):
        captured, work, origin, x = _pair(Two())
        assert deviation(captured, work, origin, [x]) == 0
        output = work.graph.output_node()
        given = output.args[0]
        output.args = (tuple(None if place is None else given[place] for place in args),)  # pyright: ignore
        assert deviation(captured, work, origin, [x]) >= expected
