"""The driver: rules to a standstill, proof of each rewrite, proof of the whole; and the two families folded."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest
import torch
from contract import FULL_SIZE, daily_first
from fuseport.models import create
from fuseport.reparam import RULES, FoldError, Match, capture, conv_bn, driver, fold
from fuseport.reparam.graph import call, constant, double, is_op, put
from golden_weights import GOLDEN, image, load_golden_
from graphs import folded, ready, rule_of
from torch import Tensor, nn
from torch.fx import GraphModule, Node

FACTS = json.loads((GOLDEN / "model_facts.json").read_text())["shvit"]
GOLDEN_OUTPUTS = json.loads((GOLDEN / "cnn_seedA.json").read_text())["shvit"]


class Block(nn.Module):
    """Both rules in a row: the norm has to go first for the identity to meet the convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm(self.conv(x))


def test_one_rewrite_opens_the_way_for_the_next() -> None:
    result = folded(Block(), torch.randn(1, 4, 6, 6))
    assert [step.rule for step in result.rewrites] == ["conv-bn", "residual-conv"]
    assert result.after.operators == {"conv2d": 1}
    assert set(result.module.state_dict()) == {"conv.weight", "conv.bias"}


def test_the_captured_graph_is_left_as_it_was() -> None:
    captured = capture(ready(Block()), (torch.randn(1, 4, 6, 6),))
    code, state = captured.code, {name: value.clone() for name, value in captured.state_dict().items()}
    fold(captured, RULES)
    assert captured.code == code
    assert all(torch.equal(value, state[name]) for name, value in captured.state_dict().items())


def test_a_heavy_model_is_folded_to_the_same_and_rounded_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    captured = capture(ready(Block()), (torch.randn(1, 4, 6, 6),))
    usual = fold(captured, RULES)
    kept: list[Tensor] = []

    def keep(value: Tensor) -> Tensor:
        kept.append(value.clone())
        return kept[-1]

    monkeypatch.setattr(driver, "HEAVY_BYTES", 1)
    found = fold(captured, RULES, keep=keep)
    assert {value.dtype for value in kept} == {torch.float32}, "after each rewrite"
    places = {value.data_ptr() for value in kept}
    assert all(value.data_ptr() in places for value in found.module.state_dict().values()), "what keep gave"
    assert [(step.rule, step.after) for step in found.rewrites] == [(step.rule, step.after) for step in usual.rewrites]
    assert usual.error < 1e-12 < found.error < 1e-5, "of roundings"
    for name, value in usual.module.state_dict().items():
        torch.testing.assert_close(found.module.state_dict()[name], value, rtol=1e-6, atol=1e-7)


def _spoiled() -> ModuleType:
    """conv-bn with a wrong shift: a rule that its proof must catch."""

    def find(module: GraphModule) -> Iterator[object]:
        return conv_bn.find(module)

    def rewrite(module: GraphModule, match: Match) -> tuple[Node, ...]:
        (node,) = conv_bn.rewrite(module, match)
        bias = node.args[2]
        assert isinstance(bias, Node)
        shift = constant(module, bias)
        assert shift is not None
        shift.data += 1e-6 * shift.data.abs().max()
        return (node,)

    return rule_of("spoiled", find, rewrite)


def test_a_wrong_rewrite_is_taken_back_and_said() -> None:
    captured = capture(ready(Block()), (torch.randn(1, 4, 6, 6),))
    result = fold(captured, (_spoiled(),))
    assert not result.rewrites
    assert result.after == result.before
    (refusal,) = result.refusals
    assert "its proof failed" in refusal.reason
    torch.testing.assert_close(result.module(torch.ones(1, 4, 6, 6)), captured(torch.ones(1, 4, 6, 6)))


class Gate(nn.Module):
    """Of squeeze and excitation: a gate on a single pixel, where random values leave half of the channels shut."""

    def __init__(self, gate: nn.Module) -> None:
        super().__init__()
        self.reduce, self.gate, self.expand = nn.Conv2d(16, 24, 1), gate, nn.Conv2d(24, 16, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.expand(self.gate(self.reduce(x.mean((2, 3), keepdim=True)))).sigmoid()


def _wrong_in(channel: int) -> ModuleType:
    """Pooling, layer and gate written anew, once, with one channel of the layer wrong."""
    times = iter((1,))

    def find(module: GraphModule) -> Iterator[Match]:
        (gate,) = (node for node in module.graph.nodes if is_op(node, "relu", "gelu"))
        layer = gate.args[0]
        assert isinstance(layer, Node)
        pool = layer.args[0]
        assert isinstance(pool, Node)
        yield from (Match((pool, layer, gate), (gate,), "reduce") for _ in times)

    def rewrite(module: GraphModule, match: Match) -> tuple[Node, ...]:
        pool, layer, gate = match.nodes
        _, weight, bias, *others = layer.args
        assert isinstance(weight, Node)
        wrong = double(module, weight).clone()
        wrong[channel] *= 1.01
        pooled = call(module, pool.target, pool.args, like=pool)
        made = call(module, layer.target, (pooled, put(module, "wrong", wrong, like=weight), bias, *others), like=layer)
        return (call(module, gate.target, (made, *gate.args[1:]), like=gate),)

    return rule_of("spoiled", find, rewrite)


@pytest.mark.parametrize("channel", range(0, 24, 3))
@pytest.mark.parametrize("bias", [0, -12], ids=["half", "all"])
@pytest.mark.parametrize("gate", [nn.ReLU(), nn.GELU()], ids=["relu", "gelu"])
def test_a_channel_that_is_shut_is_judged(
    gate: nn.Module, bias: float, channel: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ready(Gate(gate))
    module.get_parameter("reduce.bias").data += bias
    captured = capture(module, (torch.randn(1, 16, 24, 24),))
    (refusal,) = fold(captured, (_wrong_in(channel),)).refusals
    assert "its proof failed" in refusal.reason
    monkeypatch.setattr(driver, "LIMIT", math.inf)
    with pytest.raises(FoldError, match="deviates from the captured one"):
        fold(captured, (_wrong_in(channel),))


def test_an_open_batch_stays_open() -> None:
    module = ready(nn.Sequential(Block(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(4), nn.Linear(4, 3)))
    captured = capture(module, (torch.randn(2, 4, 6, 6),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    result = fold(captured, RULES)
    assert result.after.batch_norms == 0
    for batch in (1, 3):
        x = torch.randn(batch, 4, 6, 6)
        torch.testing.assert_close(result.module(x), module(x), rtol=1e-5, atol=1e-5)


def _beyond_the_paper(module: nn.Module) -> int:
    """Parameters that go into layers, but that the authors' counts, which stop at batch norms, leave standing."""
    ends = ("layer_scale", "layer_scale_1", "layer_scale_2", "pre_norm.weight", "pre_norm.bias", "dist_head.bias")
    scales = sum(value.numel() for name, value in module.named_parameters() if name.endswith(ends))
    return scales + _second_head(module)


def _second_head(module: nn.Module) -> int:
    """Weights, and multiplications, of a classifier that is averaged with the first: the mean of both is one layer."""
    return sum(value.numel() for name, value in module.named_parameters() if name == "dist_head.weight")


@pytest.mark.parametrize("name", daily_first(FULL_SIZE))
def test_every_variant_folds_to_no_batch_norm(name: str) -> None:
    variant = FULL_SIZE[name]
    module = load_golden_(create(name))
    size = variant.preprocessing.size
    x = image((1, 3, size, size), "A")
    result = fold(capture(module, (x,)), RULES)
    with torch.no_grad():
        before, after = module(x), result.module(x)
    scale = float(before.abs().max())
    assert float((before - after).abs().max()) <= 1e-5 * scale
    assert result.after.batch_norms == 0
    assert max(step.error for step in result.rewrites) < 1e-10
    assert result.error < 1e-10
    assert result.before.parameters == variant.parameters
    assert result.before.total_macs == variant.macs
    assert result.after.total_macs == variant.macs - _second_head(module)
    assert result.after.parameters == variant.parameters_fused - _beyond_the_paper(module)
    if name in FACTS:
        assert result.before.macs == {key: FACTS[name]["macs"][key] for key in ("conv", "linear", "matmul")}
        golden = np.array(GOLDEN_OUTPUTS[name]["fused_logits_every_31st"])
        assert np.abs(after[0, ::31][:32].numpy() - golden).max() <= 1e-5 * scale


def test_a_stored_value_is_never_called_what_the_model_has_already() -> None:
    """`to` is a method of every module, `exp` a module here, and `mul` the prefix of a weight."""

    class Names(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.exp, self.table = nn.Conv2d(3, 3, 1), nn.Parameter(torch.ones(3, 1, 1))
            self.mul = nn.ParameterDict({"weight": torch.ones(3, 1, 1)})

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            ramp = torch.arange(3).to(x.dtype).reshape(3, 1, 1)
            left, right = self.table.exp(), ramp * 2 + 1
            return (self.exp(x) * left).sin() + (x * right).cos() * ramp + (x + self.mul.weight).cos()

    module, x = ready(Names()), torch.randn(1, 3, 5, 5)
    result = fold(capture(module, (x,)), RULES)
    torch.testing.assert_close(result.module(x), module(x), rtol=1e-5, atol=1e-5)
    names = [name for name, _ in (*result.module.named_parameters(), *result.module.named_buffers())]
    assert any("__folded" in name for name in names)
