"""Small models for the folding tests, and the one assertion that they share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType

import torch
from fuseport.reparam import RULES, Folded, Match, capture, fold
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.utils._pytree import tree_leaves

Rewriter = Callable[[GraphModule, Match], tuple[Node, ...]]


class Formula(nn.Module):
    """A formula in a computed value and a stored constant."""

    def __init__(self, formula: Callable[[Tensor, Tensor], Tensor], *shape: int) -> None:
        super().__init__()
        self.c, self.formula = nn.Parameter(torch.empty(shape)), formula

    def forward(self, x: Tensor) -> Tensor:
        return self.formula(x.relu(), self.c)


class Apply(nn.Module):
    """A formula in the value that comes in."""

    def __init__(self, formula: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.formula = formula

    def forward(self, x: Tensor) -> Tensor:
        return self.formula(x)


def ready(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module in eval mode with random weights and norm statistics that no rewrite can get right by chance."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif tensor.is_floating_point():
            tensor.normal_(0, 1, generator=generator)
    return module.eval()


def folded(module: nn.Module, *inputs: Tensor, rules: tuple[ModuleType, ...] = RULES) -> Folded:
    """The module folded by `rules`, after an assertion that it still computes the same."""
    ready(module)
    result = fold(capture(module, inputs), rules)
    with torch.no_grad():
        expected, given = tree_leaves(module(*inputs)), tree_leaves(result.module(*inputs))
    for before, after in zip(expected, given, strict=True):
        error = float((before - after).abs().max() / before.abs().max())
        assert error < 1e-5, f"folded output is off by {error:.1e} of its scale"
    assert result.error < 1e-12
    assert all(step.error < 1e-12 for step in result.rewrites)
    return result


def operators(result: Folded) -> dict[str, int]:
    return result.after.operators


def rule_of(name: str, find: Callable[[GraphModule], Iterator[object]], rewrite: Rewriter) -> ModuleType:
    """What the driver takes for a rule: a module with these three."""
    made = ModuleType(name)
    made.NAME, made.find, made.rewrite = name, find, rewrite  # pyright: ignore
    return made
