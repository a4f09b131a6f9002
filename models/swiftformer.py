"""SwiftFormer: convolutional stages, each closed by additive attention of linear cost (arXiv 2303.15446, ICCV 2023).

Efficient additive attention over N positions of width C, with q and k of unit length over the channels:

    scores  a = (q · w_g) / √C                 (N × 1)
    global  g = Σₙ aₙ qₙ                       (1 × C)
    output  final(Proj(g ⊙ k) + q)             (N × C)

It was published in two forms that share every key and shape. Since July 2023 ("l2", the released weights) a is divided
by its L2 norm over the positions. In March 2023 ("softmax") it went through a softmax over its last axis, which has
length one: every weight is 1, g is a plain sum, and w_g has no influence.

Everything stays a map (B, C, H, W): linear layers over positions run as 1×1 convolutions, so no transposes arise.
The modules carry the names of the authors' state dicts, so their checkpoints load as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .variant import Claim, Download, Preprocessing, Variant, require_pictures

SMALLEST = 4
"""Pixels per side: the stride of the stem. Every size from here on works, also odd and non-square ones."""

ATTENTION_FORMS = ("l2", "softmax")


class Pointwise(nn.Linear):
    """A linear layer over the channels of a map: weight (out, in), input (B, in, H, W)."""

    def forward(self, input: Tensor) -> Tensor:
        return F.conv2d(input, self.weight.reshape(self.out_features, self.in_features, 1, 1), self.bias)


def _unit_length(x: Tensor, dim: int | tuple[int, int]) -> Tensor:
    """`x` divided by its L2 norm over `dim`, the norm no smaller than 1e-12."""
    return x / torch.linalg.vector_norm(x, dim=dim, keepdim=True).clamp_min(1e-12)


class AdditiveAttention(nn.Module):
    """Efficient additive attention on a map (B, C, H, W), to the same shape; the formula is in the file's head."""

    def __init__(self, width: int, form: str) -> None:
        super().__init__()
        if form not in ATTENTION_FORMS:
            raise ValueError(f"attention must be one of {', '.join(ATTENTION_FORMS)}; got {form!r}")
        self.form = form
        # In the softmax form nothing depends on w_g: it is kept for the checkpoint, and is not trained.
        self.w_g = nn.Parameter(torch.randn(width, 1), requires_grad=form == "l2")
        self.to_query = Pointwise(width, width)
        self.to_key = Pointwise(width, width)
        self.Proj = Pointwise(width, width)
        self.final = Pointwise(width, width)

    def forward(self, x: Tensor) -> Tensor:
        query = _unit_length(self.to_query(x), 1)
        key = _unit_length(self.to_key(x), 1)
        return self.final(self.Proj(self._pooled(query) * key) + query)

    def _pooled(self, query: Tensor) -> Tensor:
        """The global query g, (B, C, 1, 1). The factor 1/√C cancels in the norm, and in a softmax of length one."""
        if self.form == "softmax":
            return query.sum((2, 3), keepdim=True)
        scores = _unit_length(F.conv2d(query, self.w_g.reshape(1, -1, 1, 1)), (2, 3))
        return (scores * query).sum((2, 3), keepdim=True)


class ConvEncoder(nn.Module):
    """Depthwise 3×3, batch norm, 1×1 to `hidden`, GELU, 1×1 back, scaled per channel, with a residual."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm = nn.BatchNorm2d(width)
        self.pwconv1 = nn.Conv2d(width, hidden, 1)
        self.act = nn.GELU()
        self.pwconv2 = nn.Conv2d(hidden, width, 1)
        self.layer_scale = nn.Parameter(torch.ones(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.pwconv2(self.act(self.pwconv1(self.norm(self.dwconv(x))))) * self.layer_scale


class FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(width)
        self.fc1 = nn.Conv2d(width, 4 * width, 1)
        self.act = nn.GELU()
        self.fc2 = nn.Conv2d(4 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(self.norm1(x))))


class Encoder(nn.Module):
    """The block that closes a stage: local convolutions, additive attention, feed-forward network, each residual."""

    def __init__(self, width: int, form: str) -> None:
        super().__init__()
        self.local_representation = ConvEncoder(width, width)
        self.attn = AdditiveAttention(width, form)
        self.linear = FeedForward(width)
        self.layer_scale_1 = nn.Parameter(torch.full((width, 1, 1), 1e-5))
        self.layer_scale_2 = nn.Parameter(torch.full((width, 1, 1), 1e-5))

    def forward(self, x: Tensor) -> Tensor:
        x = self.local_representation(x)
        x = x + self.attn(x) * self.layer_scale_1
        return x + self.linear(x) * self.layer_scale_2


class Downsample(nn.Module):
    """Halves height and width, rounded up: 3×3 convolution of stride 2 (`proj`), batch norm (`norm`)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inputs, outputs, 3, 2, 1)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.proj(x))


def _stem(in_chans: int, width: int) -> nn.Sequential:
    """Two stride-2 convolutions with batch norm and ReLU: (B, in_chans, H, W) to (B, width, H/4, W/4), rounded up."""
    half = width // 2
    first = (nn.Conv2d(in_chans, half, 3, 2, 1), nn.BatchNorm2d(half), nn.ReLU())
    second = (nn.Conv2d(half, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU())
    return nn.Sequential(*first, *second)


def _network(widths: tuple[int, ...], depths: tuple[int, ...], form: str) -> nn.ModuleList:
    """Seven entries: the stages at 0, 2, 4, 6, the down-sampling between them at 1, 3, 5."""
    entries: list[nn.Module] = []
    for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        if i:
            entries.append(Downsample(widths[i - 1], width))
        convolutional = (ConvEncoder(width, 4 * width) for _ in range(depth - 1))
        entries.append(nn.Sequential(*convolutional, Encoder(width, form)))
    return nn.ModuleList(entries)


def _initialise(module: nn.Module) -> None:
    """Weights of convolutions and linear layers as in training: normal of 0.02, cut at ±2; biases zero."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class SwiftFormer(nn.Module):
    """The network of four stages: pictures (B, in_chans, H, W), normalised, to logits (B, num_classes).

    `num_classes=0` gives the pooled features (B, C). `features=True` gives the maps of the four stages, each through
    a batch norm of its own (`norm0`, `norm2`, `norm4`, `norm6`), at strides 4, 8, 16 and 32; no classifier is built.
    The released models have a second head that learnt from a teacher (`distillation`): training gives both logits,
    evaluation their mean. `attention` is the published form, "l2" or "softmax".

    Raises ValueError for an input of another rank or channel count, or smaller than 4×4.
    """

    def __init__(
        self,
        widths: tuple[int, int, int, int],
        depths: tuple[int, int, int, int],
        *,
        num_classes: int = 1000,
        in_chans: int = 3,
        distillation: bool = True,
        features: bool = False,
        attention: str = "l2",
    ) -> None:
        super().__init__()
        self.in_chans = in_chans
        self.features = features
        self.patch_embed = _stem(in_chans, widths[0])
        self.network = _network(widths, depths, attention)
        if features:
            for i, width in enumerate(widths):
                self.add_module(f"norm{2 * i}", nn.BatchNorm2d(width))
        else:
            self.norm = nn.BatchNorm2d(widths[-1])
        classifier = num_classes > 0 and not features
        self.head = nn.Linear(widths[-1], num_classes) if classifier else nn.Identity()
        self.dist_head = nn.Linear(widths[-1], num_classes) if classifier and distillation else None
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        require_pictures(x, channels=self.in_chans, smallest=SMALLEST)
        x = self.patch_embed(x)
        if self.features:
            return self._maps(x)
        for entry in self.network:
            x = entry(x)
        pooled = self.norm(x).mean((2, 3))
        if self.dist_head is None:
            return self.head(pooled)
        logits, distilled = self.head(pooled), self.dist_head(pooled)
        return (logits, distilled) if self.training else (logits + distilled) / 2

    def _maps(self, x: Tensor) -> tuple[Tensor, ...]:
        maps: list[Tensor] = []
        for i, entry in enumerate(self.network):
            x = entry(x)
            if i % 2 == 0:
                maps.append(self.get_submodule(f"norm{i}")(x))
        return tuple(maps)


_TIMM_PLACES = (
    (r"stem\.", lambda m: "patch_embed."),
    (r"head_dist\.", lambda m: "dist_head."),
    (r"stages\.(\d+)\.blocks\.", lambda m: f"network.{2 * int(m[1])}."),
    (r"stages\.(\d+)\.downsample\.", lambda m: f"network.{2 * int(m[1]) - 1}."),
)


def is_timm(keys: Iterable[str]) -> bool:
    """Whether these are the state-dict keys of timm's SwiftFormer (`stem…`, `stages.0…`, not `network.0…`)."""
    keys = set(keys)
    return "stem.0.weight" in keys and any(k.startswith("stages.0.blocks.") for k in keys)


def from_timm(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict with timm's keys renamed to the authors'. Keys that are no SwiftFormer key stay as they are."""

    def official(key: str) -> str:
        for pattern, place in _TIMM_PLACES:
            if m := re.match(pattern, key):
                key = place(m) + key[m.end() :]
                break
        key = re.sub(r"\.(layer_scale(_[12])?)\.gamma$", r".\1", key)
        return key.replace(".attn.proj.", ".attn.Proj.")

    return {official(key): value for key, value in state_dict.items()}


def is_fused(keys: Iterable[str]) -> bool:
    """Whether batch norm was folded into the convolutions before saving: no running statistics are left."""
    keys = set(keys)
    return "patch_embed.0.weight" in keys and not any(k.endswith(".running_mean") for k in keys)


PAPER = "https://arxiv.org/abs/2303.15446"

_README_2023 = "the authors' README of March 2023 (Amshaker/SwiftFormer)"
_README_NEWEST = "the authors' newest README (Amshaker/SwiftFormer)"
_IPHONE = f"{_README_2023}: iPhone 14, iOS 16, benchmark tool of Xcode 14"
_OPTIONS = {
    "attention": "published form of the attention: l2 (released weights) or softmax (March 2023) (default: l2)",
    "distillation": "keep the second head that learnt from a teacher, averaged in evaluation (default: True)",
    "features": "give the maps of the four stages instead of logits (default: False)",
}


def _variant(
    name: str,
    widths: tuple[int, int, int, int],
    depths: tuple[int, int, int, int],
    *,
    measured: tuple[int, int, int],
    claimed: tuple[float, float, float, float],
    corrected: tuple[Claim, ...] = (),
) -> Variant:
    """`measured`: parameters, folded, MACs. `claimed` in March 2023: top-1 (%), parameters (M), MACs (G), ms."""
    top1, parameters, macs, latency = claimed
    return Variant(
        name=name,
        family="swiftformer",
        build=partial(SwiftFormer, widths, depths),
        preprocessing=Preprocessing(size=224, resize=256),
        parameters=measured[0],
        parameters_fused=measured[1],
        macs=measured[2],
        timm=name,
        claims=(
            Claim("top1_percent", f"{top1} %", top1, _README_2023),
            Claim("parameters", f"{parameters} M", parameters * 1e6, _README_2023),
            Claim("macs", f"{macs} G", macs * 1e9, _README_2023),
            Claim("latency_ms", f"{latency} ms", latency, _IPHONE),
            *corrected,
        ),
        downloads=(Download(f"https://huggingface.co/timm/{name}.dist_in1k/resolve/main/model.safetensors", "timm"),),
        paper=PAPER,
        model_args=_OPTIONS,
    )


# fmt: off
VARIANTS = (
    _variant("swiftformer_xs", (48, 56, 112, 220), (3, 3, 6, 4),
             measured=(3_475_360, 3_469_400, 602_434_988), claimed=(75.7, 3.5, 0.4, 0.7),
             corrected=(Claim("macs", "0.6 G", 0.6e9, _README_NEWEST),)),
    _variant("swiftformer_s", (48, 64, 168, 224), (3, 3, 9, 6),
             measured=(6_092_128, 6_083_232, 984_604_768), claimed=(78.5, 6.1, 1.0, 0.8)),
    _variant("swiftformer_l1", (48, 96, 192, 384), (4, 3, 10, 5),
             measured=(12_057_920, 12_045_584, 1_595_988_480), claimed=(80.9, 12.1, 1.6, 1.1)),
    _variant("swiftformer_l3", (64, 128, 320, 512), (4, 4, 12, 6),
             measured=(28_494_736, 28_474_192, 4_008_367_872), claimed=(83.0, 26.5, 4.0, 1.9),
             corrected=(Claim("parameters", "28.5 M", 28.5e6, _README_NEWEST),)),
)
# fmt: on
