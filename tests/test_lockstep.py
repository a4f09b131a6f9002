"""The proof of the whole: what it sees that the outputs do not show, and what it does not mistake for a fault."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from fuseport.reparam import RULES, FoldError, capture, driver, fold, lockstep, no_effect
from fuseport.reparam.graph import copy_of, double, put
from fuseport.reparam.lockstep import deviation
from fuseport.reparam.proof import region, relative_error, run_float64, run_region
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


def _pair(module: nn.Module) -> tuple[GraphModule, GraphModule, dict[Node, Node]]:
    captured = capture(ready(module), (torch.randn(1, 4, 5, 5),))
    return captured, *copy_of(captured)


def test_roundings_that_the_model_amplifies_are_no_deviation() -> None:
    captured, *_ = _pair(Star(12))
    result = fold(captured, RULES)
    assert result.error < 1e-12
    assert result.after.batch_norms == 0
    x = torch.randn(1, 4, 5, 5, generator=torch.Generator().manual_seed(1)).double()
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
    captured, work, origin = _pair(Damped())
    last = work.graph.output_node().args[0][0]  # pyright: ignore
    del origin[last]
    assert deviation(captured, work, origin) == 0
    assert isinstance(last, Node)
    last.args = (last.args[0], last.args[0])
    assert deviation(captured, work, origin) > 0.1


def test_swapped_and_missing_outputs_are_seen() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x.exp(), x.sin()

    for args, expected in (((1, 0), 0.1), ((0,), math.inf), ((0, None), math.inf)):
        captured, work, origin = _pair(Two())
        assert deviation(captured, work, origin) == 0
        output = work.graph.output_node()
        given = output.args[0]
        output.args = (tuple(None if place is None else given[place] for place in args),)  # pyright: ignore
        assert deviation(captured, work, origin) >= expected


class Seams(nn.Module):
    """Two convolutions of one shape in a row, whose outputs could be taken for one another."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        return (self.second(first) + first).flatten(1).softmax(1)


def _named(graph: GraphModule, name: str) -> list[Node]:
    return [node for node in graph.graph.nodes if node.name.startswith(name)]


def test_a_use_outside_its_region_that_was_turned_to_another_value_is_seen() -> None:
    """No layer is touched: only what stands behind a region reads something else, or reads twice what it read once."""
    for wrong in range(4):
        captured, work, origin = _pair(Seams())
        assert deviation(captured, work, origin) == 0
        (first, second), (add,) = _named(work, "conv2d"), _named(work, "add")
        (source,) = work.graph.find_nodes(op="placeholder")
        if wrong == 0:
            add.replace_input_with(first, second)
        elif wrong == 1:
            second.replace_input_with(first, source)
        elif wrong == 2:
            add.args = (second, source)
        else:
            second.args = (first, first.args[1], *second.args[2:])  # the other layer's weight
        assert deviation(captured, work, origin) > 0.1


def test_two_claims_that_were_swapped_are_seen() -> None:
    captured, work, origin = _pair(Seams())
    first, second = _named(work, "conv2d")
    origin[first], origin[second] = origin[second], origin[first]
    assert deviation(captured, work, origin) > 0.1


def test_a_stored_value_is_held_against_the_calls_that_it_stands_for() -> None:
    class Computed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(4, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.weight.exp()

    captured, work, origin = _pair(Computed())
    (exp,), (weight,) = _named(work, "exp"), _named(work, "weight")
    for factor in (1, 1 + 1e-6):
        with work.graph.inserting_before(exp):
            made = put(work, "made", double(work, weight).exp() * factor, like=weight)
        exp.replace_all_uses_with(made, propagate_meta=False)
        origin[made], exp = origin[exp], made
        assert deviation(captured, work, origin) == pytest.approx(factor - 1)


class Scores(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x.sin()
        return y.exp() / (y * 2)


def test_reading_past_a_common_value_or_from_behind_one_is_no_deviation() -> None:
    """Both sides of a stretch are then brought to begin alike: values of float32 would not fit each other."""
    for past in (True, False):
        captured, work, origin = _pair(Scores())
        (sin,), (exp,), (mul,) = (_named(work, name) for name in ("sin", "exp", "mul"))
        with work.graph.inserting_after(mul):
            if past:
                made = work.graph.call_function(torch.ops.aten.sin.default, sin.args)
                exp.args = (made,)
                exp.prepend(made)
            else:
                made = work.graph.call_function(torch.ops.aten.div.Tensor, (mul, 2))
                exp.args = (made,)
                made.append(exp)
        assert 0 <= deviation(captured, work, origin) < 1e-14


def test_stretches_that_begin_with_other_values_are_judged_on_values_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockstep, "_AHEAD", 0)
    test_reading_past_a_common_value_or_from_behind_one_is_no_deviation()


def test_stretches_of_convolutions_are_run_on_a_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.conv(x))

    seen: list[tuple[int, ...]] = []
    run = lockstep.run_region

    def watched(
        module: GraphModule, values: Mapping[Node, Any], outputs: Sequence[Node], *, leak: float
    ) -> tuple[Any, ...]:
        seen.extend(tuple(value.shape) for value in values.values())
        return run(module, values, outputs, leak=leak)

    monkeypatch.setattr(lockstep, "run_region", watched)
    x = torch.randn(1, 4, 32, 32)
    fold(capture(ready(Deep()), (x,)), RULES)
    assert seen == [(1, 4, 3, 3)] * 2


class Idle(nn.Module):
    """A layer behind a call that changes nothing, and one whose second input lends its shape."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.drop = nn.Conv2d(4, 4, 1), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.drop(x.sin()))


def _regions(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The operators of every region that runs from now on."""
    seen: list[list[str]] = []
    run = lockstep.run_region

    def watched(
        module: GraphModule, values: Mapping[Node, Any], outputs: Sequence[Node], *, leak: float
    ) -> tuple[Any, ...]:
        seen.append([node.name for node in region(outputs, values) if node.op != "get_attr"])
        return run(module, values, outputs, leak=leak)

    monkeypatch.setattr(lockstep, "run_region", watched)
    return seen


def test_where_a_call_without_effect_is_gone_that_alone_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    captured, work, origin = _pair(Idle())
    (sin,), (drop,), (conv,) = (_named(work, name) for name in ("sin", "dropout", "conv2d"))
    conv.replace_input_with(drop, sin)
    del origin[drop]
    work.graph.erase_node(drop)
    seen = _regions(monkeypatch)
    assert deviation(captured, work, origin) == 0
    assert sorted(seen) == [[], ["dropout"]]


def test_a_call_that_is_gone_and_took_the_shape_of_a_second_value_is_judged_as_well() -> None:
    class Lent(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sin().expand_as(x.cos()).exp()

    captured, work, origin = _pair(Lent())
    (sin,), (expanded, exp) = _named(work, "sin"), _named(work, "exp")
    exp.replace_input_with(expanded, sin)
    del origin[expanded]
    assert deviation(captured, work, origin) == 0
    exp.replace_input_with(sin, _named(work, "cos")[0])
    assert deviation(captured, work, origin) > 0.1


def test_each_of_two_calls_that_read_the_same_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(no_effect, "_COPIES", (*no_effect._COPIES, "exp"))

    class Both(Idle):
        def forward(self, x: Tensor) -> Tensor:
            x = x.sin()
            return torch.cat([self.drop(x).cos(), x.exp().cos(), self.drop(x).tan()])

    captured, work, origin = _pair(Both())
    (sin,) = _named(work, "sin")
    for gone in (*_named(work, "dropout"), *_named(work, "exp")):
        gone.replace_all_uses_with(sin, propagate_meta=False)
    assert deviation(captured, work, origin) > 0.1


def test_a_call_that_is_gone_and_had_an_effect_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the rule that takes such calls away holds it for one without."""
    monkeypatch.setattr(no_effect, "_COPIES", (*no_effect._COPIES, "exp"))

    class Loud(Idle):
        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x.sin().exp())

    captured, work, origin = _pair(Loud())
    (sin,), (exp,), (conv,) = (_named(work, name) for name in ("sin", "exp", "conv2d"))
    conv.replace_input_with(exp, sin)
    assert deviation(captured, work, origin) > 0.1


def test_the_model_is_run_where_random_values_are_no_judge_and_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    class Steps(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x.sin().clamp(-0.1, 0.1) * 2).cos().tanh()

    runs: list[Node] = []
    steps = lockstep.steps

    def watched(module: GraphModule, inputs: Sequence[Tensor], *, real: torch.dtype) -> Any:
        for node, value in steps(module, inputs, real=real):
            runs.append(node)
            yield node, value

    monkeypatch.setattr(lockstep, "steps", watched)
    for changed, expected in (("tanh", []), ("clamp", ["x", "sin"])):
        captured, work, origin = _pair(Steps())
        (node,) = _named(work, changed)
        with work.graph.inserting_after(node):
            twice = work.graph.call_function(torch.ops.aten.mul.Tensor, (node, 1.0))
        twice.meta["val"] = node.meta["val"]
        node.replace_all_uses_with(twice, propagate_meta=False)
        twice.replace_input_with(twice, node)
        origin[twice] = origin.pop(node)
        assert deviation(captured, work, origin) == 0
        assert [run.name for run in runs] == expected
        twice.args = (node, 1.5)
        assert deviation(captured, work, origin) == pytest.approx(0.5)


def test_a_value_that_lends_its_shape_alone_keeps_nothing_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lent(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.maximum(x.sin(), x.mean((2, 3), keepdim=True).exp().expand_as(x.cos()))

    reals: list[torch.dtype] = []
    steps = lockstep.steps

    def watched(module: GraphModule, inputs: Sequence[Tensor], *, real: torch.dtype) -> Any:
        reals.append(real)
        return steps(module, inputs, real=real)

    monkeypatch.setattr(lockstep, "steps", watched)
    captured, work, origin = _pair(Lent())
    (expanded,), (largest,) = _named(work, "expand_as"), _named(work, "maximum")
    largest.replace_input_with(expanded, expanded.all_input_nodes[0])
    assert deviation(captured, work, origin) == 0
    assert reals == [torch.float32]
    largest.args = (largest.args[0], largest.args[0])
    assert deviation(captured, work, origin) > 0.1


def test_gates_that_read_whole_numbers_or_weights_are_taken_as_they_are() -> None:
    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.zeros(4, 1, 1))
            self.conv, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x: Tensor, kinds: Tensor) -> Tensor:
            chosen = kinds.clamp(0, 3).sigmoid().reshape(1, 4, 1, 1).clone()
            return self.norm(self.conv(x)).relu() * self.scale.sigmoid() + chosen.clone()

    module = ready(Whole())
    given = torch.randn(1, 4, 5, 5), torch.tensor([0, 1, 2, 5])
    result = fold(capture(module, given), RULES)
    assert result.after.batch_norms == 0
    assert not result.refusals
    assert result.error < 1e-14
    torch.testing.assert_close(result.module(*given), module(*given))


def test_a_gate_over_numbers_leaks_what_it_reads_and_one_over_whole_numbers_nothing() -> None:
    class Shut(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.relu()

    for x, expected in ((torch.tensor([-4.0, 4.0]), [-1.0, 4.0]), (torch.tensor([-4, 4]), [0, 4])):
        captured = capture(Shut().eval(), (x,))
        (gate,) = _named(captured, "relu")
        (value,) = run_region(captured, {gate.all_input_nodes[0]: x}, (gate,), leak=0.25)
        assert value.tolist() == expected
