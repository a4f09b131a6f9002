"""Models that cannot be captured: one line names the place in the model, what it does there, and what to try."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest
import torch
from fuseport.reparam import CaptureError, capture
from fuseport.reparam.not_captured import require_fixed_sizes, require_repeatable
from torch import Tensor, nn

X = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Branch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:  # stops here
            return x * 2
        return x


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.gate = nn.Conv2d(3, 3, 1), Branch()

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(self.stem(x))


class Loop(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        while x.abs().max() > 1:  # stops here
            x = x / 2
        return x


class Item(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, : int(x.abs().max().item())]  # stops here


class Numpy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(np.clip(x.numpy(), 0, 1))  # stops here


class Text(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * len(f"{x.mean():.3f}")  # stops here


class Memory(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * ctypes.c_float.from_address(x.data_ptr()).value  # stops here


class Selection(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[x > 0].mean()  # stops here


class Unique(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.unique(x).sum()  # stops here


class Number(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x.argmax().item()  # stops here


class Wrong(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x @ torch.zeros(5, 5)  # stops here


class Endless(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return self.forward(x)  # stops here


class Result:
    """A class that torch cannot take apart."""

    def __init__(self, value: Tensor) -> None:
        self.value = value


class Opaque(nn.Module):
    def forward(self, x: Tensor) -> Result:
        return Result(x)


@torch.library.custom_op("fuseport_test::shapeless", mutates_args=())
def shapeless(x: Tensor) -> Tensor:
    return x.clone()


class Custom(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return shapeless(x)  # stops here


def _line(kind: type[nn.Module]) -> int:
    lines = Path(__file__).read_text().splitlines()
    start = next(at for at, text in enumerate(lines) if text.startswith(f"class {kind.__name__}("))
    return next(at for at, text in enumerate(lines[start:], start + 1) if "# stops here" in text)


@pytest.mark.parametrize(
    ("module", "at", "what", "advice"),
    [
        (Branch, Branch, "decides by the values of a tensor", "torch.where"),
        (Inner, Branch, "decides by the values of a tensor", "torch.where"),
        (Loop, Loop, "decides by the values of a tensor", "torch.where"),
        (Item, Item, "a number is taken out of a tensor", "keep it a tensor"),
        (Numpy, Numpy, "numpy computes with a tensor's values", "torch's own functions"),
        (Text, Text, "a tensor's values become text", "take the print or the f-string out"),
        (Memory, Memory, "reads a tensor's memory", "plain torch functions"),
        (Wrong, Wrong, "RuntimeError: .*reduction dim", "by itself tells more"),
        (Endless, Endless, "forward calls itself without an end", "for which it ends"),
        (Custom, Custom, "an operator says nothing of the shape that it gives", "register_fake"),
    ],
)
def test_the_line_what_it_does_and_what_to_try(
    module: type[nn.Module], at: type[nn.Module], what: str, advice: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CaptureError, match=what) as caught:
        capture(module().eval(), (X,))
    assert capfd.readouterr().err == ""
    told = str(caught.value)
    assert told.startswith(f"torch.export cannot capture {module.__name__} at ")
    assert f"test_not_captured.py:{_line(at)}: `" in told
    assert advice in told
    assert "\n" not in told


def test_values_that_torch_cannot_take_apart() -> None:
    with pytest.raises(CaptureError, match="of a class that torch cannot take apart; to try: give tensors, in tuples"):
        capture(Opaque().eval(), (X,))


def test_torchscript_has_no_code_to_read() -> None:
    with pytest.warns(FutureWarning, match="deprecated"):
        scripted = torch.jit.script(nn.Sequential(nn.Conv2d(3, 3, 1)))
    with pytest.raises(CaptureError, match=r"capture Sequential: 1 is a TorchScript module.*build the Python class"):
        capture(nn.Sequential(nn.Conv2d(3, 3, 1), scripted).eval(), (X,))


def test_an_open_batch_that_the_code_fixes() -> None:
    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.reshape(2, -1)

    dims = ({0: torch.export.Dim("batch", min=1, max=8)},)
    with pytest.raises(CaptureError, match=r"leave --dynamic-batch out, or take the batch from x\.shape"):
        capture(Fixed().eval(), (torch.zeros(2, 3, 8, 8),), dynamic_shapes=dims)


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (Selection, "the size of a tensor depends on its values"),
        (Unique, "the size of a tensor depends on its values"),
        (Number, "a number is taken out of a tensor"),
    ],
)
def test_sizes_that_only_a_run_tells(kind: type[nn.Module], what: str) -> None:
    module = kind().eval()
    with pytest.raises(CaptureError, match=what) as caught:
        require_fixed_sizes(module, capture(module, (X,)))
    assert f"test_not_captured.py:{_line(kind)}" in str(caught.value)


def test_fixed_sizes_pass() -> None:
    module = nn.Conv2d(3, 3, 1).eval()
    require_fixed_sizes(module, capture(module, (X,)))


class Noise(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * torch.randn_like(x)  # stops here


class Uncertain(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, 0.1)  # stops here


class Attention(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.scaled_dot_product_attention(x, x, x, dropout_p=0.1)  # stops here


class Idle(nn.Module):
    """Nothing is drawn at inference, or what is drawn reaches no output."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.rnn = nn.Dropout(0.5), nn.GRU(8, 4, num_layers=2, dropout=0.5)

    def forward(self, x: Tensor) -> Tensor:
        torch.rand(3)
        y = nn.functional.scaled_dot_product_attention(x, x, self.drop(x))
        y = nn.functional.rrelu(nn.functional.dropout(y, 0.0, training=True), training=False)
        return self.rnn(y[0])[0]


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        (Noise, "draw them once, as a buffer, or take them as an input"),
        (Uncertain, "switch the dropout off unless self.training"),
        (Attention, "switch the dropout off unless self.training"),
    ],
)
def test_random_draws_are_refused(kind: type[nn.Module], advice: str) -> None:
    module = kind().eval()
    with pytest.raises(CaptureError, match=f"^no file can be held against {kind.__name__}.*{advice}") as caught:
        require_repeatable(module, capture(module, (X,)))
    assert f"test_not_captured.py:{_line(kind)}" in str(caught.value)


@pytest.mark.filterwarnings("ignore:The tensor attributes")  # torch, of the weights of a GRU
def test_what_draws_nothing_passes() -> None:
    module = Idle().eval()
    require_repeatable(module, capture(module, (X,)))
