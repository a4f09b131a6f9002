"""Batch norm into the convolution or linear layer before it."""

from __future__ import annotations

import pytest
import torch
from fuseport.reparam import capture, conv_bn, fold
from graphs import folded, ready
from torch import Tensor, nn

RULES = (conv_bn,)

LAYERS = {
    "conv1d": (nn.Conv1d(4, 6, 3), nn.BatchNorm1d(6), (2, 4, 9)),
    "conv2d": (nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(6), (2, 4, 9, 9)),
    "conv2d same": (nn.Conv2d(4, 6, 3, padding="same", dilation=2), nn.BatchNorm2d(6), (2, 4, 9, 9)),
    "conv2d groups": (nn.Conv2d(4, 8, 3, groups=2), nn.BatchNorm2d(8), (2, 4, 9, 9)),
    "conv3d": (nn.Conv3d(2, 4, (1, 3, 3)), nn.BatchNorm3d(4), (2, 2, 4, 5, 5)),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1), nn.BatchNorm2d(6), (2, 4, 5, 5)),
    "transposed groups": (nn.ConvTranspose2d(4, 6, 3, groups=2, bias=False), nn.BatchNorm2d(6), (2, 4, 5, 5)),
    "transposed 1d": (nn.ConvTranspose1d(4, 6, 3), nn.BatchNorm1d(6), (2, 4, 5)),
    "linear": (nn.Linear(4, 6, bias=False), nn.BatchNorm1d(6), (3, 4)),
    "plain norm": (nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6, affine=False, eps=0.1), (2, 4, 5, 5)),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_every_kind_of_layer(kind: str) -> None:
    layer, norm, shape = LAYERS[kind]
    result = folded(nn.Sequential(layer, norm), torch.randn(shape), rules=RULES)
    assert result.after.batch_norms == 0
    assert result.after.nodes == 1
    assert [step.rule for step in result.rewrites] == ["conv-bn"]


def test_folded_weights_keep_the_names_of_the_layer() -> None:
    result = folded(nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4)), torch.randn(1, 3, 4, 4))
    assert dict(result.module.named_parameters()).keys() == {"0.weight", "0.bias"}
    assert {value.dtype for value in result.module.parameters()} == {torch.float32}


class TwoReaders(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.norm(y) + y.sigmoid()


class SharedLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.first, self.second = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.conv(self.first(self.conv(x)).relu()))


class TiedWeight(SharedLayer):
    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Conv2d(3, 3, 1)
        self.other.weight = self.conv.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.first(self.conv(x)).relu() + self.other(x)


class BatchStatistics(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False))


class OtherAxis(nn.Sequential):
    """The norm's channels are the second axis, the linear layer's outputs the last."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(5, 4), nn.BatchNorm1d(4))


@pytest.mark.parametrize(
    ("module", "shape", "reason"),
    [
        (TwoReaders(), (2, 3, 4, 4), "also read by others"),
        (SharedLayer(), (2, 3, 4, 4), "shared with another layer"),
        (TiedWeight(), (2, 3, 4, 4), "shared with another layer"),
        (BatchStatistics(), (2, 3, 4, 4), "statistics of the batch"),
        (OtherAxis(), (2, 4, 5), "not the linear layer's outputs"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_what_is_not_exact_is_refused_with_a_reason(module: nn.Module, shape: tuple[int, ...], reason: str) -> None:
    captured = capture(ready(module), (torch.randn(shape),))
    result = fold(captured, RULES)
    assert not result.rewrites
    assert result.after.operators == result.before.operators
    assert all(reason in refusal.reason for refusal in result.refusals)
    assert len(result.refusals) >= 1
