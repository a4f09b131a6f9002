"""Evo-ViT, in the seed's reduced form: from one layer on, only the best scored patch tokens go through the layer.

Xu et al., "Evo-ViT: Slow-Fast Token Evolution for Dynamic Vision Transformer", arXiv 2108.01390, without the paper's
representative token and its fast update. A token's score is the class token's attention to it, averaged over heads and,
by a moving average, over layers. The other tokens pass unchanged, with their old scores, and can come back later.

The order of the tokens has no influence on what is computed, so the active ones are put in front and nothing is sorted.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from . import options
from .choose import Decision, full, places, survivors, take, top_mask
from .layer import Layer, Reduction, ViTShape, attend

NAME = "evo"
OPTIONS = {
    "location": "the first layer that leaves tokens out, at least 1",
    "keep_ratio": "share of the patch tokens that goes through a layer, above 0 and at most 1",
    "tradeoff": "weight of the old score in the moving average, 0 to 1 (0.5)",
}


class Scored(NamedTuple):
    """Of the patch tokens in their present order, (n, P): scores, float32, None before layer 0; numbers, int64."""

    scores: Tensor | None
    ids: Tensor


class EvoViT(Reduction[Scored]):
    """int(keep_ratio * P) of the P patch tokens are active in a layer from `location` on."""

    def __init__(self, shape: ViTShape, *, location: int, keep_ratio: float, tradeoff: float = 0.5) -> None:
        super().__init__(shape)
        why = f"the network has {shape.depth} layers, and the first one only scores"
        self.location = options.whole("location", location, 1, shape.depth - 1, why)
        self.active = int(shape.patches * options.share("keep_ratio", keep_ratio))
        if self.active < 1:
            raise ValueError(f"keep_ratio must keep at least one of {shape.patches} patch tokens; got {keep_ratio!r}")
        self.attention = ClassAttention(options.between("tradeoff", tradeoff, 0, 1))
        self.select = Best()

    def start(self, x: Tensor) -> Scored:
        return Scored(None, torch.arange(1, self.shape.tokens, device=x.device).expand(x.shape[0], -1))

    def step(self, index: int, layer: Layer, x: Tensor, state: Scored) -> tuple[Tensor, Scored]:
        if index < self.location or state.scores is None or self.active == self.shape.patches:
            x, scores = self._scored(layer, x, state.scores)
            return x, Scored(scores, state.ids)
        return self._slow_fast(layer, x, state.scores, state.ids)

    def _slow_fast(self, layer: Layer, x: Tensor, scores: Tensor, ids: Tensor) -> tuple[Tensor, Scored]:
        """Class token and active tokens through the layer, the others past it."""
        active, idle = self.select(scores, self.active)
        patches = x[:, 1:]
        slow = torch.cat((x[:, :1], take(patches, active)), dim=1)
        slow, updated = self._scored(layer, slow, take(scores, active))
        x = torch.cat((slow, take(patches, idle)), dim=1)
        scores = torch.cat((updated, take(scores, idle)), dim=1)
        return x, Scored(scores, torch.cat((take(ids, active), take(ids, idle)), dim=1))

    def _scored(self, layer: Layer, x: Tensor, old: Tensor | None) -> tuple[Tensor, Tensor]:
        """The whole layer on tokens (n, N, D), and the new scores of the patch tokens among them."""
        q, k, v = layer.split(layer.norm(x))
        scores = self.attention(q, k, old)
        x = x + attend(layer, q, k, v)
        return x + layer.feed_forward(x), scores

    def static_form(self) -> str:
        return "The number of active tokens is the method's own; of equal scores the earlier token is active."

    def through(self, index: int) -> int:
        """The token count that layer `index` works on."""
        return self.shape.tokens if index < self.location else self.active + 1

    def choices(self, index: int, state: Scored) -> Tensor | None:
        return survivors(state.ids[:, : self.active], self.shape.tokens) if index >= self.location else None


class ClassAttention(Decision):
    """The class token's attention to the patch tokens, float32 (n, N-1): mean over heads, then with the old scores."""

    def __init__(self, tradeoff: float) -> None:
        super().__init__()
        self.tradeoff = tradeoff

    def forward(self, q: Tensor, k: Tensor, old: Tensor | None) -> Tensor:
        logits = (full(q)[:, :, :1] * q.shape[-1] ** -0.5) @ full(k).transpose(-2, -1)
        row = logits.softmax(-1).mean(1)[:, 0, 1:]
        return row if old is None else self.tradeoff * old + (1 - self.tradeoff) * row


class Best(Decision):
    """Positions, int64, of the k greatest of scores (n, P) and of the others, both ascending."""

    def forward(self, scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
        mask = top_mask(scores, k)
        return places(mask, k), places(mask.logical_not(), scores.shape[1] - k)


METHOD = EvoViT
