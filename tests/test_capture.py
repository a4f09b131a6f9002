"""Capture: a graph without in-place operators, or an error that names the line."""

from __future__ import annotations

import pytest
import torch
from fuseport.reparam import RULES, CaptureError, capture, fold
from fuseport.reparam.graph import mutates, operator_name, reached_outputs
from graphs import ready
from torch import Tensor, nn


class InPlace(nn.Module):
    """`x` is read after relu_ changed it: 2·relu(x + 1), and not relu(x + 1) + x + 1."""

    def forward(self, x: Tensor) -> Tensor:
        y = x + 1
        return torch.relu_(y) + y


class ThroughView(nn.Module):
    """The write goes through a view, so that `y` changes although no operator names it."""

    def forward(self, x: Tensor) -> Tensor:
        y = x + 1
        y[:, :1].mul_(3)
        return y * 2


class Residual(nn.Module):
    """A view is taken before the write and read after it."""

    def forward(self, x: Tensor) -> Tensor:
        y = x * 2
        seen = y.flatten(1)
        y.relu_()
        return seen + y.flatten(1)


@pytest.mark.parametrize("module", [InPlace(), ThroughView(), Residual()], ids=lambda module: type(module).__name__)
def test_in_place_operators_become_functional(module: nn.Module) -> None:
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    captured = capture(module.eval(), (x,))
    assert not any(mutates(node) for node in captured.graph.nodes)
    torch.testing.assert_close(captured(x), module(x), rtol=0, atol=0)


def test_training_mode_is_refused() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).eval()
    module[1].train()
    with pytest.raises(CaptureError, match=r"^1 is in training mode.*call \.eval\(\)"):
        capture(module, (torch.zeros(1, 3, 4, 4),))


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            return x
        return -x


def test_a_model_that_cannot_be_captured_names_its_line() -> None:
    with pytest.raises(CaptureError, match=r"cannot capture Branching at .*test_capture\.py:\d+: `if x") as caught:
        capture(Branching().eval(), (torch.zeros(2, 3),))
    assert "\n" not in str(caught.value)


def test_an_open_batch_stays_open() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()).eval()
    captured = capture(module, (torch.zeros(2, 3, 8, 8),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    for batch in (1, 2, 5):
        assert captured(torch.zeros(batch, 3, 8, 8)).shape == (batch, 144)


class SwitchedOff(nn.Module):
    """Blocks that torch.export puts into graphs of their own; a check of types stands before the cast."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            y = self.layer(x).relu()
        with torch.autocast("cpu", enabled=False):
            y, z = y.float() * 2, x + 1
        return y + z


def test_blocks_that_change_nothing_are_inlined() -> None:
    module, x = SwitchedOff().eval(), torch.randn(2, 4)
    captured = capture(module, (x,))
    names = {operator_name(node) for node in captured.graph.nodes if node.op == "call_function"}
    assert names == {"linear", "relu", "to", "mul", "add"}
    assert torch.equal(captured(x), module(x))


class OnAlias(nn.Module):
    """A full slice is written to, and nobody sees what it is a slice of: the additions of GhostNet."""

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat((x, x), 1)[:, :8]
        y += 1
        return y.relu()


def test_an_alias_of_a_fresh_value_may_be_written() -> None:
    captured, x = capture(OnAlias().eval(), (torch.randn(2, 4),)), torch.randn(2, 4)
    assert not any(mutates(node) for node in captured.graph.nodes)
    assert "alias" in {operator_name(node) for node in captured.graph.nodes}
    torch.testing.assert_close(captured(x), OnAlias()(x))


def test_outputs_that_no_input_reaches() -> None:
    class Anchored(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.anchors = nn.Buffer(torch.arange(3.0))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            return x + self.anchors, self.anchors * 2, self.anchors

    assert reached_outputs(capture(Anchored().eval(), (torch.zeros(1, 3),))) == (True, False, False)


class Shifted(nn.Module):
    """Writes into a part of a fresh value through a view of it, as relative positions are added to attention."""

    def forward(self, x: Tensor) -> Tensor:
        y = 2 * x.transpose(1, 2) @ x
        y[:, 1:] = (y[:, 1:].reshape(1, 2, -1) + 1).reshape(1, 2, 3)
        return y.transpose(1, 2).reshape(1, 9)


def test_what_is_left_of_views_asks_nothing_of_the_layout() -> None:
    x = torch.arange(12.0).reshape(1, 4, 3)
    graph = capture(Shifted().eval(), (x,))
    targets = {node.target for node in graph.graph.nodes}
    assert not targets & {torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default}
    torch.testing.assert_close(graph(x.double()), Shifted()(x.double()))


def test_a_model_that_writes_into_slices_keeps_its_batch_norms_whole() -> None:
    """Making it functional leaves each in torch's own three-output form."""

    class Writes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.zeros_like(x)
            y[:, 1:] = x[:, 1:]
            return self.norm(self.conv(y)).relu()

    module, x = ready(Writes()), torch.randn(1, 3, 5, 5)
    result = fold(capture(module, (x,)), RULES)
    assert [step.rule for step in result.rewrites] == ["conv-bn"]
    torch.testing.assert_close(result.module(x), module(x), rtol=1e-5, atol=1e-5)
