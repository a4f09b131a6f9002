"""What a token-reduction method sees of a vision transformer: its shape, and four verbs per layer.

A pre-norm transformer layer computes x + MHA(norm(x)), then adds the feed-forward branch (Dosovitskiy et al.,
arXiv 2010.11929). The methods change what happens between these pieces, so a layer hands them out one by one. Any ViT
whose layers can be seen this way takes any method: `models/swag.py` conforms by itself, `attach.py` adapts timm's.

Letters: n pictures, N tokens (the class token first), H heads, d channels per head, D = H d.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class ViTShape:
    """The dimensions of a plain ViT with one class token. `grid` counts patches: rows, columns."""

    grid: tuple[int, int]
    width: int
    heads: int
    depth: int

    @property
    def patches(self) -> int:
        return self.grid[0] * self.grid[1]

    @property
    def tokens(self) -> int:
        """S: the patches and the class token."""
        return self.patches + 1

    @property
    def head_width(self) -> int:
        return self.width // self.heads


class Layer(Protocol):
    """One pre-norm transformer layer in four pieces. None of them adds the residual."""

    def norm(self, x: Tensor) -> Tensor:
        """The normalised input of the attention, (n, N, D)."""
        ...

    def split(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (n, H, N, d); the queries are not scaled."""
        ...

    def merge(self, heads: Tensor) -> Tensor:
        """The output projection: (n, H, N, d) to (n, N, D)."""
        ...

    def feed_forward(self, x: Tensor) -> Tensor:
        """The second branch, its norm included, (n, N, D)."""
        ...


def attend(layer: Layer, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multi-head attention, (n, N, D); `bias`, broadcast to (n, H, N, N), is added to its logits."""
    return layer.merge(F.scaled_dot_product_attention(q, k, v, bias))


def plain_step(layer: Layer, x: Tensor) -> Tensor:
    """The layer as it was trained, (n, N, D)."""
    x = x + attend(layer, *layer.split(layer.norm(x)))
    return x + layer.feed_forward(x)


State = TypeVar("State")


class Reduction(nn.Module, Generic[State]):
    """How the tokens travel through the layers; this base class is the plain ViT, which keeps them all.

    A method overrides `step`. What it has to remember from layer to layer (token sizes, scores, masks) is a value that
    `start` makes and each step replaces, never module state: a second call, or trace, sees nothing of the first.
    """

    def __init__(self, shape: ViTShape) -> None:
        super().__init__()
        self.shape = shape

    def start(self, x: Tensor) -> State | None:
        """What is remembered in front of the first layer, for tokens (n, S, D)."""
        return None

    def step(self, index: int, layer: Layer, x: Tensor, state: Any) -> tuple[Tensor, State | None]:
        """Layer `index` (0 is the first) on tokens (n, N, D): the tokens behind it, and what is to be remembered."""
        return plain_step(layer, x), state

    def tokens(self) -> tuple[int, ...]:
        """The token count behind each layer, as the static form computes it."""
        return (self.shape.tokens,) * self.shape.depth

    def static_form(self) -> str:
        """What the fixed-shape, exportable form settles that the method leaves open, in a sentence or two."""
        return "All tokens are kept; nothing is chosen."

    def choices(self, index: int, state: Any) -> Tensor | None:
        """What layer `index` chose, as int32 labels (n, ..., S) of the original tokens; None where it chose nothing.

        Label 0 means dropped, so two runs made the same choice where their labels are equal: see `validate/choices.py`.
        """
        return None


def run_layers(reduction: Reduction[Any], layers: Sequence[Layer], x: Tensor) -> Tensor:
    """Tokens (n, S, D) through all layers; the class token stays first, how many others are left is the method's."""
    state = reduction.start(x)
    for index, layer in enumerate(layers):
        x, state = reduction.step(index, layer, x, state)
    return x


def run_with_choices(reduction: Reduction[Any], layers: Sequence[Layer], x: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
    """As `run_layers`, and the choices of each layer that made one, by its number."""
    state, chosen = reduction.start(x), {}
    for index, layer in enumerate(layers):
        x, state = reduction.step(index, layer, x, state)
        labels = reduction.choices(index, state)
        if labels is not None:
            chosen[index] = labels
    return x, chosen
