"""SWAG's vision transformers, plain or with one of seven token-reduction methods.

Singh et al., "Revisiting Weakly Supervised Pre-Training of Visual Perception Models", arXiv 2201.08371: a plain
pre-norm ViT (Dosovitskiy et al., arXiv 2010.11929) with a class token and a learned position embedding, LayerNorm eps
1e-6, exact GELU. Module names give the official state-dict keys. A method (`tokens/`) has no parameters of its own, so
every variant of a size takes the same checkpoint; only the class token is read out, so no method has to put tokens
back.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .tokens.layer import Layer, Reduction, ViTShape, run_layers, run_with_choices

NORM_EPS = 1e-6


@dataclass(frozen=True)
class ViTSize:
    """A published size: `name` as in papers, patch side and picture side in pixels, widths in channels."""

    name: str
    patch: int
    image: int
    width: int
    heads: int
    depth: int
    mlp_width: int


SIZES = {
    "b16": ViTSize("ViT-B/16", 16, 384, 768, 12, 12, 3072),
    "l16": ViTSize("ViT-L/16", 16, 512, 1024, 16, 24, 4096),
    "h14": ViTSize("ViT-H/14", 14, 518, 1280, 16, 32, 5120),
}


class Attention(nn.Module):
    """Multi-head attention in two halves; in_proj_weight (3D, D) holds the rows of q, then k, then v."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def split(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q, k, v, each (n, H, N, d), of tokens (n, N, D)."""
        n, size, width = y.shape
        packed = F.linear(y, self.in_proj_weight, self.in_proj_bias).reshape(
            n, size, 3, self.heads, width // self.heads
        )
        q, k, v = packed.permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v

    def merge(self, heads: Tensor) -> Tensor:
        """The output projection, (n, H, N, d) to (n, N, D)."""
        return self.out_proj(heads.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Linear, exact GELU, linear."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(width, hidden)
        self.linear_2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_2(F.gelu(self.linear_1(x)))


class EncoderLayer(nn.Module):
    """One pre-norm layer in the four pieces that `tokens.layer.Layer` asks for."""

    def __init__(self, size: ViTSize) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(size.width, eps=NORM_EPS)
        self.self_attention = Attention(size.width, size.heads)
        self.ln_2 = nn.LayerNorm(size.width, eps=NORM_EPS)
        self.mlp = Mlp(size.width, size.mlp_width)

    def norm(self, x: Tensor) -> Tensor:
        return self.ln_1(x)

    def split(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.self_attention.split(y)

    def merge(self, heads: Tensor) -> Tensor:
        return self.self_attention.merge(heads)

    def feed_forward(self, x: Tensor) -> Tensor:
        return self.mlp(self.ln_2(x))


class Encoder(nn.Module):
    """Position embedding, stored sequence first as (S, 1, D), the layers, and the last norm."""

    def __init__(self, size: ViTSize, tokens: int) -> None:
        super().__init__()
        self.pos_embedding = nn.Parameter(torch.empty(tokens, 1, size.width).normal_(std=0.02))
        self.layers = nn.ModuleDict({f"layer_{i}": EncoderLayer(size) for i in range(size.depth)})
        self.ln = nn.LayerNorm(size.width, eps=NORM_EPS)


class Head(nn.Module):
    """The linear classifier under its official name."""

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(OrderedDict(head=nn.Linear(width, num_classes)))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class SwagViT(nn.Module):
    """Pictures (n, C, R, R) to logits (n, num_classes); with num_classes 0, to the class token's features (n, D).

    `reduction` is shared by all layers and made for this shape (`vit_shape`). With `choices` the method's choices
    follow the logits in a tuple, an int32 tensor for each layer that makes one (`Reduction.choices`). Raises ValueError
    if the picture is not of the side `image_size` for which the position embedding was built.
    """

    def __init__(
        self,
        size: ViTSize,
        reduction: Reduction[Any] | None = None,
        *,
        image_size: int | None = None,
        num_classes: int = 1000,
        in_chans: int = 3,
        choices: bool = False,
    ) -> None:
        super().__init__()
        shape = vit_shape(size, image_size)
        self.size, self.shape = size, shape
        self.image_size, self.num_classes = shape.grid[0] * size.patch, num_classes
        self.class_token = nn.Parameter(torch.zeros(1, 1, size.width))
        self.conv_proj = nn.Conv2d(in_chans, size.width, size.patch, size.patch)
        self.encoder = Encoder(size, shape.tokens)
        self.head = Head(size.width, num_classes) if num_classes else nn.Identity()
        self.reduction = reduction if reduction is not None else Reduction[None](shape)
        self.choices = choices

    @property
    def layers(self) -> list[Layer]:
        return [layer for layer in self.encoder.layers.values() if isinstance(layer, EncoderLayer)]

    def embed(self, images: Tensor) -> Tensor:
        """Patches, row-major, behind the class token, with the position embedding added: (n, S, D)."""
        self._require_side(images)
        patches = self.conv_proj(images).flatten(2).transpose(1, 2)
        tokens = torch.cat((self.class_token.expand(images.shape[0], -1, -1), patches), dim=1)
        return tokens + self.encoder.pos_embedding.transpose(0, 1)

    def _require_side(self, images: Tensor) -> None:
        side, channels = self.image_size, self.conv_proj.in_channels
        if images.ndim != 4 or images.shape[1:] != (channels, side, side):
            raise ValueError(
                f"expected pictures of shape (batch, {channels}, {side}, {side}), the size of the position embedding;"
                f" got {tuple(images.shape)}: resize them, or build the model with image_size"
            )

    def read_out(self, x: Tensor) -> Tensor:
        """The head on the class token, the first of (n, N, D)."""
        return self.head(self.encoder.ln(x[:, 0]))

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        tokens = self.embed(images)
        if not self.choices:
            return self.read_out(run_layers(self.reduction, self.layers, tokens))
        tokens, chosen = run_with_choices(self.reduction, self.layers, tokens)
        return (self.read_out(tokens), *chosen.values())


def vit_shape(size: ViTSize, image_size: int | None = None) -> ViTShape:
    """The shape for square pictures of side image_size (the published one if None).

    Raises ValueError if that is no multiple of the patch.
    """
    side = size.image if image_size is None else image_size
    if not isinstance(side, int) or side < size.patch or side % size.patch:
        near = max(round(side / size.patch), 1) * size.patch if isinstance(side, int) else size.image
        raise ValueError(
            f"image_size of {size.name} must be a multiple of its patch of {size.patch} pixels, such as {near};"
            f" got {side!r}"
        )
    grid = side // size.patch
    return ViTShape((grid, grid), size.width, size.heads, size.depth)
