"""Random graphs through all rules in random order, against the graph as it was; and faults that must be caught."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
import torch
from fuseport.reparam import RULES, Match, capture, fold, multiplied
from fuseport.reparam.graph import call
from graphs import Apply, ready, rule_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.nn import functional as F

WIDTH, SIDE = 4, 6


class Constant(nn.Module):
    """A formula in the value and a stored constant."""

    def __init__(self, formula: Callable[[Tensor, Tensor], Tensor], *shape: int) -> None:
        super().__init__()
        self.c, self.formula = nn.Parameter(torch.empty(shape)), formula

    def forward(self, x: Tensor) -> Tensor:
        return self.formula(x, self.c)


class OverChannels(nn.Module):
    """A layer over the last axis, on a map whose channels are brought there and back."""

    def __init__(self, layer: nn.Module, *, flat: bool) -> None:
        super().__init__()
        self.layer, self.flat = layer, flat

    def forward(self, x: Tensor) -> Tensor:
        if self.flat:
            return self.layer(x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(x.shape)
        return self.layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Attention(nn.Module):
    """Two heads of width 2 over tokens (B, N, WIDTH)."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).reshape(*x.shape[:2], 3, 2, WIDTH // 2).permute(2, 0, 3, 1, 4).unbind(0)
        return self.out(F.scaled_dot_product_attention(q, k, v, scale=0.3).transpose(1, 2).reshape(x.shape))


class Parts(nn.Module):
    """Only the first channel, or the others, go through a layer."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        first, rest = x.split((1, WIDTH - 1), dim=1)
        return torch.cat((rest, first * self.scale), dim=1)


STEPS: tuple[Callable[[], nn.Module], ...] = (
    lambda: nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
    lambda: nn.Conv2d(WIDTH, WIDTH, 3, padding=1, groups=WIDTH, bias=False),
    lambda: nn.Conv2d(WIDTH, WIDTH, 1, groups=2),
    lambda: nn.Conv2d(WIDTH, WIDTH, 1, bias=False),
    lambda: nn.ConvTranspose2d(WIDTH, WIDTH, 3, padding=1),
    lambda: nn.BatchNorm2d(WIDTH),
    lambda: nn.BatchNorm2d(WIDTH),
    lambda: nn.GroupNorm(1, WIDTH),
    lambda: nn.GroupNorm(2, WIDTH),
    lambda: nn.ReLU(),
    lambda: nn.Dropout(),
    lambda: nn.AvgPool2d(3, 1, 1),
    lambda: nn.AvgPool2d(3, 1, 1, count_include_pad=False),
    lambda: nn.MaxPool2d(3, 1, 1),
    lambda: OverChannels(nn.Linear(WIDTH, WIDTH), flat=True),
    lambda: OverChannels(nn.LayerNorm(WIDTH), flat=False),
    lambda: OverChannels(nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH)), flat=False),
    lambda: Constant(lambda x, c: x * c, WIDTH, 1, 1),
    lambda: Constant(lambda x, c: c - x, WIDTH, 1, 1),
    lambda: Constant(lambda x, c: torch.add(x, c, alpha=2), 1, SIDE, 1),
    lambda: Constant(lambda x, c: x / (c * c + 1), 1),
    lambda: Apply(lambda x: x * 0.5),
    lambda: Apply(lambda x: 1 - x),
    lambda: Apply(lambda x: x * x.mean((2, 3), keepdim=True).sigmoid()),
    lambda: Apply(lambda x: (x @ x.transpose(2, 3) * 0.25).softmax(-1) @ x),
    lambda: Apply(lambda x: F.layer_norm(x, x.shape[1:])),
    lambda: Apply(lambda x: x.flatten(1).unflatten(1, (WIDTH, SIDE, SIDE))),
    lambda: Parts(3.0),
    lambda: Constant(lambda x, c: x @ c, SIDE, SIDE),
    lambda: Apply(lambda x: x - x.mean(1, keepdim=True).expand_as(x)),
    lambda: Apply(lambda x: torch.cat([part.flatten(2) for part in x.chunk(2, 1)], 1).reshape(x.shape)),
    lambda: OverChannels(nn.Sequential(nn.Linear(WIDTH, 8), nn.ReLU(), nn.Linear(8, WIDTH)), flat=True),
    lambda: OverChannels(Attention(), flat=True),
    lambda: Apply(lambda x: (x - x.mean(1, keepdim=True)) / (x.var(1, correction=0, keepdim=True) + 1e-3).sqrt()),
    lambda: Apply(lambda x: x @ (x.transpose(2, 3) @ x).softmax(-1).transpose(2, 3)),
    lambda: Apply(lambda x: (x.sigmoid() @ x.transpose(2, 3)).transpose(2, 3)),
    lambda: Constant(lambda x, c: x * c.sum(0).sigmoid(), 2, WIDTH, 1, 1),
    lambda: nn.Sequential(nn.Conv2d(WIDTH, 8, 3, padding=1, groups=WIDTH), nn.Conv2d(8, WIDTH, 1)),
    lambda: Apply(lambda x: x + F.adaptive_avg_pool2d(x, 1).flatten(1)[:, :, None, None]),
)
JOINS = (torch.add, torch.sub, lambda a, b: torch.add(a, b, alpha=-2), lambda a, b: torch.cat((a, b), 1)[:, 1:-3])


class Net(nn.Module):
    """Each step takes one of the values so far through a layer, or joins two of them."""

    def __init__(self, plan: list[tuple[int, int, int]]) -> None:
        super().__init__()
        self.plan = plan
        self.steps = nn.ModuleList(STEPS[kind]() if kind < len(STEPS) else nn.Identity() for kind, _, _ in plan)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        values = [x]
        for (kind, one, other), step in zip(self.plan, self.steps, strict=True):
            first, second = values[-1 - one % len(values)], values[-1 - other % len(values)]
            values.append(step(first) if kind < len(STEPS) else JOINS[kind - len(STEPS)](first, second))
        return values[-1], values[len(values) // 2].mean((2, 3))


PLANS = st.lists(
    st.tuples(st.integers(0, len(STEPS) + len(JOINS) - 1), st.integers(0, 2), st.integers(0, 4)), min_size=2, max_size=9
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(plan=PLANS, order=st.randoms(use_true_random=False))
def test_any_graph_through_the_rules_in_any_order(plan: list[tuple[int, int, int]], order: random.Random) -> None:
    module, x = ready(Net(plan)).double(), torch.randn(2, WIDTH, SIDE, SIDE, dtype=torch.float64)
    rules = order.sample(RULES, len(RULES))
    result = fold(capture(module, (x,)), rules)
    with torch.no_grad():
        for before, after in zip(module(x), result.module(x), strict=True):
            assert float((before - after).abs().max()) <= 1e-9 * float(before.abs().max())
    assert not [refusal for refusal in result.refusals if "proof" in refusal.reason]
    assert result.after.total_macs <= result.before.total_macs
    more = 2 * result.before.operators.get("group_norm", 0) + sum(
        step.rule == multiplied.NAME for step in result.rewrites
    )
    assert result.after.nodes <= result.before.nodes + more


def off_by(rule: ModuleType, share: float) -> ModuleType:
    """The rule with a fault seeded: its first output is larger by this share of itself than it should be."""

    def find(module: GraphModule) -> Iterator[object]:
        return rule.find(module)

    def rewrite(module: GraphModule, match: Match) -> tuple[Node, ...]:
        first, *others = rule.rewrite(module, match)
        with module.graph.inserting_after(first):
            wrong = call(module, torch.ops.aten.mul.Tensor, (first, 1 + share), like=match.outputs[0])
        return (wrong, *others)

    return rule_of(rule.NAME, find, rewrite)


class AllPlaces(nn.Module):
    """A place for each rule."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(WIDTH, WIDTH, 1) for _ in range(7))
        self.norm, self.last, self.one_group = nn.BatchNorm2d(WIDTH), nn.BatchNorm2d(WIDTH), nn.GroupNorm(1, WIDTH)
        self.fixed = nn.InstanceNorm2d(WIDTH, affine=True, track_running_stats=True)
        self.kernel = nn.Linear(1, WIDTH, bias=False)
        self.multiplied = nn.Sequential(
            nn.Conv2d(WIDTH, 8, 3, padding=1, groups=WIDTH), nn.ReLU(), nn.Conv2d(8, WIDTH, 1)
        )
        self.tokens, self.attention = (
            OverChannels(nn.Linear(WIDTH, WIDTH), flat=True),
            OverChannels(Attention(), flat=True),
        )
        self.matrix, self.product = (nn.Parameter(torch.empty(WIDTH, WIDTH)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.convs[0](x)).relu().clone() * self.matrix.sum()
        x = self.tokens(x) + self.attention(self.multiplied(x))
        x = (x - x.mean(1, keepdim=True)) / (x.var(1, correction=0, keepdim=True) + 1e-3).sqrt()
        x = x @ (x.transpose(2, 3) @ x).softmax(-1).transpose(2, 3) + x.mean((2, 3), keepdim=True).flatten(1).sum()
        x = (self.convs[1](x) + x).relu()
        x = (self.convs[2](x) + self.convs[3](x)).sigmoid()
        x = (x @ x.exp().transpose(2, 3)).transpose(2, 3)
        x = F.conv2d(x, self.kernel.weight.reshape(WIDTH, 1, 1, 1), groups=WIDTH) * 2
        x = (x.sigmoid() * 3 + 1) * 2
        x = x.relu() / x.mean(1, keepdim=True).exp().expand_as(x)
        x = torch.cat([part.flatten(2) for part in x.split((1, WIDTH - 1), 1)], 1).transpose(1, 2)
        x = (x.sigmoid() @ self.product).transpose(1, 2).reshape(-1, WIDTH, SIDE, SIDE)
        x = self.convs[4](self.last(self.fixed(x).relu()))
        return self.convs[6](self.convs[5](self.one_group(x.relu())))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.NAME)
def test_the_proof_catches_a_fault_in_any_rule(rule: ModuleType) -> None:
    x = torch.randn(2, WIDTH, SIDE, SIDE)
    captured = capture(ready(AllPlaces()), (x,))
    sound = fold(captured, (rule,))
    result = fold(captured, (off_by(rule, 1e-6),))
    assert sound.rewrites
    assert not result.rewrites
    assert len([refusal for refusal in result.refusals if "its proof failed" in refusal.reason]) >= 1
    assert result.after == result.before
