"""Batch norms and channel scales into the layers that follow."""

from __future__ import annotations

import pytest
import torch
from fuseport.reparam import affine_next, capture, fold
from graphs import folded, ready
from torch import Tensor, nn

RULES = (affine_next,)


class TwoHeads(nn.Module):
    """The head of SwiftFormer: norm, mean over positions, two classifiers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head, self.other = nn.BatchNorm2d(6), nn.Linear(6, 5), nn.Linear(6, 5, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x).flatten(2).mean(-1)
        return (self.head(y) + self.other(y)) / 2


class Permuted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head = nn.BatchNorm2d(6), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(x).permute(0, 2, 3, 1).reshape(2, 16, 6).transpose(1, 0))


class Scale(nn.Module):
    """A product or quotient per channel."""

    def __init__(self, *, divide: bool = False) -> None:
        super().__init__()
        self.divide = divide
        self.register_buffer("factor", torch.rand(6, 1, 1) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return x / self.factor if self.divide else self.factor * x


class Twice(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2


class Split(nn.Module):
    """The norm's channels go two ways, as of a query and a value."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head, self.other = nn.BatchNorm2d(6), nn.Linear(32, 5), nn.Conv2d(4, 5, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        left, right = self.norm(x).split((2, 4), dim=1)
        return self.head(left.flatten(1)), self.other(right)


class Concatenated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.layer = nn.BatchNorm2d(6), nn.Conv2d(12, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(torch.cat((x, self.norm(x)), dim=1))


class Gate(nn.Module):
    """A scale passes a product with something computed, and a matrix product whose sum it is not part of."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.layer = Scale(), nn.Conv2d(6, 5, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer((self.scale(x) * x.sigmoid()) @ x.mean((1), keepdim=True))


PICTURE = (2, 6, 4, 4)
EXACT = {
    "linear": (nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 5)), (3, 6)),
    "dropout": (nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 5, bias=False)), (3, 6)),
    "pooled": (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(6), nn.Linear(6, 5)), PICTURE),
    "norm before pool": (
        nn.Sequential(nn.BatchNorm2d(6), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)),
        PICTURE,
    ),
    "two heads": (TwoHeads(), PICTURE),
    "permuted": (Permuted(), PICTURE),
    "flattened": (nn.Sequential(nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(96, 4)), PICTURE),
    "transposed": (nn.Sequential(Scale(), nn.ConvTranspose2d(6, 4, 3, 2, 1, groups=1)), PICTURE),
    "maximum": (nn.Sequential(Twice(), nn.MaxPool2d(3, 2, 1), nn.ReLU(), nn.Conv2d(6, 4, 3, padding=1)), PICTURE),
    "resized": (nn.Sequential(nn.BatchNorm2d(6), nn.UpsamplingBilinear2d(scale_factor=2), nn.Conv2d(6, 4, 1)), PICTURE),
    "next norm": (nn.Sequential(nn.BatchNorm2d(6), nn.AvgPool2d(2), nn.BatchNorm2d(6), nn.ReLU()), PICTURE),
    "split": (Split(), PICTURE),
    "concatenated": (Concatenated(), PICTURE),
    "gate": (Gate(), PICTURE),
    "layer norm": (nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 5)), (2, 3, 6)),
    "layer norm, no bias": (nn.Sequential(nn.LayerNorm(6, bias=False), nn.Linear(6, 5, bias=False)), (2, 3, 6)),
    "group norm": (nn.Sequential(nn.GroupNorm(3, 6), nn.Conv2d(6, 4, 1)), PICTURE),
    "rms norm": (nn.Sequential(nn.RMSNorm(6), nn.Linear(6, 5)), (2, 3, 6)),
    "pointwise": (nn.Sequential(nn.BatchNorm2d(6), nn.Conv2d(6, 4, 1)), PICTURE),
    "grouped": (nn.Sequential(nn.BatchNorm2d(6), nn.Conv2d(6, 4, 3, groups=2, bias=False)), PICTURE),
    "average pool": (nn.Sequential(nn.BatchNorm2d(6), nn.AvgPool2d(2), nn.Conv2d(6, 4, 1)), PICTURE),
    "scale, padded": (nn.Sequential(Scale(), nn.Conv2d(6, 4, 3, padding=1, bias=False)), PICTURE),
    "quotient, padded": (nn.Sequential(Scale(divide=True), nn.Conv2d(6, 4, 3, padding="same")), PICTURE),
}


@pytest.mark.parametrize("kind", EXACT)
def test_the_map_is_folded(kind: str) -> None:
    module, shape = EXACT[kind]
    result = folded(module, torch.randn(shape), rules=RULES)
    assert result.after.batch_norms == (kind == "next norm")
    assert not {"mul", "div"} & result.after.operators.keys() or kind in ("two heads", "gate")
    assert len(result.rewrites) == 1


class AlsoRead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head = nn.BatchNorm1d(6), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        return self.head(y) + y


class AsWeight(nn.Module):
    """The norm's output is the weight of a linear call, not its input."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.norm(x))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head = nn.BatchNorm1d(6), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(x)) + self.head(x)


@pytest.mark.parametrize(
    ("module", "shape", "reason"),
    [
        (nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 1)), PICTURE, "relu, which does not commute"),
        (nn.Sequential(nn.BatchNorm2d(6), nn.MaxPool2d(2), nn.Conv2d(6, 4, 1)), PICTURE, "does not commute"),
        (nn.Sequential(nn.BatchNorm2d(6), nn.Linear(6, 4)), (2, 6, 5, 6), "not the inputs of"),
        (AlsoRead(), (3, 6), "also read by add"),
        (AsWeight(), (6, 6), "reads it as a weight"),
        (Tied(), (3, 6), "shared with another layer"),
    ],
)
def test_what_is_not_exact_is_refused(module: nn.Module, shape: tuple[int, ...], reason: str) -> None:
    result = fold(capture(ready(module), (torch.randn(shape),)), RULES)
    assert not result.rewrites
    assert result.after.batch_norms == 1
    assert reason in result.refusals[0].reason


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        ((nn.Conv2d(6, 4, 3, padding=1),), "zero padding"),
        ((nn.Conv2d(6, 4, 3, padding="same"),), "zero padding"),
        ((nn.ConvTranspose2d(6, 4, 3),), "different numbers of taps"),
        ((nn.AvgPool2d(3, 2, 1), nn.Conv2d(6, 4, 1)), "does not commute with a shift"),
    ],
)
def test_where_only_the_shift_is_stopped_the_scale_goes_in(layers: tuple[nn.Module, ...], reason: str) -> None:
    result = folded(nn.Sequential(nn.BatchNorm2d(6), *layers), torch.randn(PICTURE), rules=RULES)
    assert result.after.batch_norms == 0
    assert result.after.operators["add"] == 1
    assert result.after.nodes == result.before.nodes
    assert set(result.module.state_dict()) >= {"0.shift"}
    (refusal,) = result.refusals
    assert refusal.where == "0"
    assert refusal.reason.startswith("its scale was folded, t/s is added: ")
    assert reason in refusal.reason


def test_a_shift_far_larger_than_the_scale_is_not_divided_by_it() -> None:
    module = ready(nn.Sequential(nn.BatchNorm2d(6), nn.Conv2d(6, 4, 3, padding=1)))
    module.get_parameter("0.weight").data[2] = 1e-6
    result = fold(capture(module, (torch.randn(PICTURE),)), RULES)
    assert (result.rewrites, result.after.batch_norms) == ((), 1)
    assert "zero padding" in result.refusals[0].reason


def test_a_scale_that_cannot_move_is_no_refusal() -> None:
    """Every product with a constant is a candidate; only a batch norm that stays is worth a line."""
    result = fold(capture(ready(nn.Sequential(Scale(), nn.ReLU())), (torch.randn(PICTURE),)), RULES)
    assert (result.rewrites, result.refusals) == ((), ())
