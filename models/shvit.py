"""SHViT, the single-head vision transformer: three stages behind a stride-16 stem (arXiv 2401.16456, CVPR 2024).

A block is a depthwise 3×3 convolution, single-head attention on a *part* of the channels (stages 2 and 3 only), and a
feed-forward network, each with a residual. Attention of one head over N = H·W positions, on the first `attending`
channels x₁ of x = [x₁, x₂]:

    q, k, v = split(W · norm(x₁)),   A = softmax over keys of (kᵀ q / √16),   out = proj(relu([v A, x₂]))

The modules carry the names of the authors' state dicts, so their checkpoints load as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .variant import Claim, Download, Preprocessing, Variant, require_pictures

QUERY_WIDTH = 16
SMALLEST = 16
"""Pixels per side: the stride of the stem. Every size from here on works, also odd and non-square ones."""


class ConvNorm(nn.Sequential):
    """Convolution without bias (`c`), then batch norm (`bn`) whose weight starts at `gamma`."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, groups: int = 1, gamma: float = 1.0
    ) -> None:
        super().__init__()
        self.c = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        nn.init.constant_(self.bn.weight, gamma)


class NormLinear(nn.Sequential):
    """Batch norm (`bn`), then a linear classifier (`l`); (B, C) to (B, classes)."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(width)
        self.l = nn.Linear(width, classes)
        nn.init.trunc_normal_(self.l.weight, std=0.02)
        nn.init.zeros_(self.l.bias)


class Residual(nn.Module):
    def __init__(self, m: nn.Module) -> None:
        super().__init__()
        self.m = m

    def forward(self, x: Tensor) -> Tensor:
        return x + self.m(x)


class OneGroupNorm(nn.GroupNorm):
    """Group norm of one group, spelled as a layer norm over (C, H, W) and a scale and shift per channel.

    Both converters have one operation for the layer norm, and turn a group norm into six to ten.
    """

    def __init__(self, width: int) -> None:
        super().__init__(1, width)

    def forward(self, input: Tensor) -> Tensor:
        normalised = F.layer_norm(input, input.shape[1:], eps=self.eps)
        return normalised * self.weight.reshape(-1, 1, 1) + self.bias.reshape(-1, 1, 1)


class SingleHeadAttention(nn.Module):
    """Attention of one head on the first `attending` of `width` channels; the others pass by. (B, C, H, W) to same."""

    def __init__(self, width: int, attending: int) -> None:
        super().__init__()
        self.parts = (attending, width - attending)
        self.pre_norm = OneGroupNorm(attending)
        self.qkv = ConvNorm(attending, 2 * QUERY_WIDTH + attending)
        self.proj = nn.Sequential(nn.ReLU(), ConvNorm(width, width, gamma=0.0))

    def forward(self, x: Tensor) -> Tensor:
        attending, rest = x.split(self.parts, dim=1)
        tokens = self.qkv(self.pre_norm(attending)).flatten(2)
        q, k, v = tokens.split((QUERY_WIDTH, QUERY_WIDTH, self.parts[0]), dim=1)
        attention = (k.transpose(1, 2) @ (q * QUERY_WIDTH**-0.5)).softmax(dim=1)  # (B, keys, queries)
        mixed = (v @ attention).reshape(-1, *attending.shape[1:])  # -1: no batch size is read, so none is computed
        return self.proj(torch.cat((mixed, rest), dim=1))


class FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.pw1 = ConvNorm(width, 2 * width)
        self.act = nn.ReLU()
        self.pw2 = ConvNorm(2 * width, width, gamma=0.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.pw2(self.act(self.pw1(x)))


class Block(nn.Module):
    """Residual depthwise convolution, attention (where `attending` channels are given), feed-forward network."""

    def __init__(self, width: int, attending: int | None) -> None:
        super().__init__()
        self.conv = Residual(ConvNorm(width, width, 3, groups=width, gamma=0.0))
        self.mixer = Residual(SingleHeadAttention(width, attending)) if attending else nn.Identity()
        self.ffn = Residual(FeedForward(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.ffn(self.mixer(self.conv(x)))


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate in 0..1 computed from the mean of all; reduced width C/4 in steps of 8."""

    def __init__(self, width: int) -> None:
        super().__init__()
        reduced = (width // 4 + 4) // 8 * 8
        self.fc1 = nn.Conv2d(width, reduced, 1)
        self.fc2 = nn.Conv2d(reduced, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True))))
        return x * gate.sigmoid()


class PatchMerging(nn.Module):
    """Halves height and width: 1×1 to four times the width, depthwise 3×3 stride 2, squeeze-and-excite, 1×1."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        hidden = 4 * inputs
        self.conv1 = ConvNorm(inputs, hidden)
        self.conv2 = ConvNorm(hidden, hidden, 3, stride=2, groups=hidden)
        self.se = SqueezeExcite(hidden)
        self.conv3 = ConvNorm(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(self.se(F.relu(self.conv2(F.relu(self.conv1(x))))))


def _stem(in_chans: int, width: int) -> nn.Sequential:
    """Four stride-2 convolutions, ReLU between them: (B, in_chans, H, W) to (B, width, H/16, W/16), rounded up."""
    widths = (in_chans, width // 8, width // 4, width // 2, width)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [ConvNorm(inputs, outputs, 3, stride=2), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _stage(inputs: int, width: int, depth: int, attending: int | None) -> nn.Sequential:
    """The down-sampling in three entries (not in the first stage), then `depth` blocks."""

    def pair(channels: int) -> nn.Sequential:
        return nn.Sequential(
            Residual(ConvNorm(channels, channels, 3, groups=channels)), Residual(FeedForward(channels))
        )

    down = [pair(inputs), PatchMerging(inputs, width), pair(width)] if inputs != width else []
    return nn.Sequential(*down, *(Block(width, attending) for _ in range(depth)))


class SHViT(nn.Module):
    """The network of three stages: pictures (B, in_chans, H, W), normalised, to logits (B, num_classes).

    `num_classes=0` gives the pooled features (B, C). `features=True` gives the maps of the three stages, at strides
    16, 32 and 64, and no classifier is built. With `distillation` a second head learns from a teacher: training gives
    both logits, evaluation their mean.

    Raises ValueError for an input of another rank or channel count, or smaller than 16×16.
    """

    def __init__(
        self,
        widths: tuple[int, int, int],
        depths: tuple[int, int, int],
        attending: tuple[int | None, int, int],
        *,
        num_classes: int = 1000,
        in_chans: int = 3,
        distillation: bool = False,
        features: bool = False,
    ) -> None:
        super().__init__()
        self.in_chans = in_chans
        self.features = features
        self.patch_embed = _stem(in_chans, widths[0])
        self.blocks1 = _stage(widths[0], widths[0], depths[0], attending[0])
        self.blocks2 = _stage(widths[0], widths[1], depths[1], attending[1])
        self.blocks3 = _stage(widths[1], widths[2], depths[2], attending[2])
        classifier = num_classes > 0 and not features
        self.head = NormLinear(widths[2], num_classes) if classifier else nn.Identity()
        self.head_dist = NormLinear(widths[2], num_classes) if classifier and distillation else None

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        require_pictures(x, channels=self.in_chans, smallest=SMALLEST)
        first = self.blocks1(self.patch_embed(x))
        second = self.blocks2(first)
        third = self.blocks3(second)
        if self.features:
            return first, second, third
        pooled = third.mean((2, 3))
        if self.head_dist is None:
            return self.head(pooled)
        logits, distilled = self.head(pooled), self.head_dist(pooled)
        return (logits, distilled) if self.training else (logits + distilled) / 2


_TIMM_PLACES = (
    (r"stages\.0\.blocks\.(\d+)\.", lambda m: f"blocks1.{m[1]}."),
    (r"stages\.([12])\.blocks\.(\d+)\.", lambda m: f"blocks{int(m[1]) + 1}.{int(m[2]) + 3}."),
    (r"stages\.([12])\.downsample\.([01])\.", lambda m: f"blocks{int(m[1]) + 1}.0.{m[2]}."),
    (r"stages\.([12])\.downsample\.2\.", lambda m: f"blocks{int(m[1]) + 1}.1."),
    (r"stages\.([12])\.downsample\.([34])\.", lambda m: f"blocks{int(m[1]) + 1}.2.{int(m[2]) - 3}."),
)


def is_timm(keys: Iterable[str]) -> bool:
    """Whether these are the state-dict keys of timm's SHViT (`stages.0…` where the authors have `blocks1…`)."""
    keys = set(keys)
    return any(k.startswith("patch_embed.") for k in keys) and any(k.startswith("stages.0.blocks.") for k in keys)


def from_timm(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict with timm's keys renamed to the authors'. Keys that are no SHViT key stay as they are."""

    def official(key: str) -> str:
        for pattern, place in _TIMM_PLACES:
            if m := re.match(pattern, key):
                return place(m) + key[m.end() :]
        return key

    return {official(key): value for key, value in state_dict.items()}


def is_fused(keys: Iterable[str]) -> bool:
    """Whether batch norm was folded into the convolutions before saving: `patch_embed.0.weight`, no `.bn.` anywhere."""
    keys = set(keys)
    return "patch_embed.0.weight" in keys and not any("running_mean" in k for k in keys)


PAPER = "https://arxiv.org/abs/2401.16456"

_SOURCE = "the authors' README (ysj9909/SHViT, release v1.0), which counts the model after folding its batch norms"
_OPTIONS = {
    "distillation": "add a second head that learns from a teacher, averaged in evaluation (default: False)",
    "features": "give the maps of the three stages instead of logits (default: False)",
}


def _variant(
    name: str,
    widths: tuple[int, int, int],
    depths: tuple[int, int, int],
    attending: tuple[None, int, int],
    *,
    size: int,
    measured: tuple[int, int, int],
    claimed: tuple[float, float, int],
) -> Variant:
    """`measured`: parameters, those after folding, MACs. `claimed`: top-1 in %, parameters and MACs in millions."""
    top1, parameters, macs = claimed
    return Variant(
        name=name,
        family="shvit",
        build=partial(SHViT, widths, depths, attending),
        preprocessing=Preprocessing(size=size, resize=int(256 / 224 * size)),
        parameters=measured[0],
        parameters_fused=measured[1],
        macs=measured[2],
        timm=name,
        claims=(
            Claim("top1_percent", f"{top1} %", top1, _SOURCE),
            Claim("parameters", f"{parameters} M", parameters * 1e6, _SOURCE),
            Claim("macs", f"{macs} M", macs * 1e6, _SOURCE),
        ),
        downloads=(
            Download(f"https://github.com/ysj9909/SHViT/releases/download/v1.0/{name}.pth", "official"),
            Download(f"https://huggingface.co/timm/{name}.in1k/resolve/main/model.safetensors", "timm"),
        ),
        paper=PAPER,
        model_args=_OPTIONS,
    )


# fmt: off
VARIANTS = (
    _variant("shvit_s1", (128, 224, 320), (2, 4, 5), (None, 48, 68), size=224,
             measured=(6_330_808, 6_308_660, 241_320_768), claimed=(72.8, 6.3, 241)),
    _variant("shvit_s2", (128, 308, 448), (2, 4, 5), (None, 66, 96), size=224,
             measured=(11_483_072, 11_453_508, 365_394_896), claimed=(75.2, 11.4, 366)),
    _variant("shvit_s3", (192, 352, 448), (3, 5, 5), (None, 75, 96), size=224,
             measured=(14_245_273, 14_210_010, 600_570_164), claimed=(77.4, 14.2, 601)),
    _variant("shvit_s4", (224, 336, 448), (4, 7, 6), (None, 72, 96), size=256,
             measured=(16_588_484, 16_546_248, 986_216_960), claimed=(79.4, 16.5, 986)),
)
# fmt: on
