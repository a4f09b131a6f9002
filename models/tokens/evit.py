"""EViT: in a few layers, between attention and MLP, the least attended patch tokens are dropped.

Liang et al., "Not All Patches are What You Need", arXiv 2202.07800. A patch token's score is the attention that it
receives, averaged over heads and over **all** queries, as in the seed. The paper takes the class token's row alone,
which is `score="class"`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from . import options
from .choose import Decision, back, full, places, survivors, take, top_mask
from .layer import Layer, Reduction, ViTShape, plain_step

NAME = "evit"
OPTIONS = {
    "keep_rate": "share of the patch tokens that stays at each drop, above 0 and at most 1",
    "drop_layers": "layers that drop, such as 6,12,18",
    "fuse": "add the dropped tokens up into one extra token (false)",
    "score": "whose attention counts: mean (of all queries, the seed's) or class (the paper's)",
}


class Kept(NamedTuple):
    """Patch numbers, int64 (n, P), of the tokens behind the class token; the fused token counts as number S."""

    ids: Tensor


class Best(NamedTuple):
    """positions, int64 (n, keep), of the patch tokens that stay; the scores (n, P) of those dropped, 0 elsewhere."""

    positions: Tensor
    dropped: Tensor


class EViT(Reduction[Kept]):
    """Keeps ceil(keep_rate * P) of P patch tokens in each of `drop_layers`; an earlier fused token counts in P."""

    def __init__(
        self,
        shape: ViTShape,
        *,
        keep_rate: float,
        drop_layers: tuple[int, ...] | str,
        fuse: bool = False,
        score: str = "mean",
    ) -> None:
        super().__init__(shape)
        self.keep_rate = options.share("keep_rate", keep_rate)
        self.drop_layers = options.layers("drop_layers", drop_layers, shape.depth)
        self.fuse = options.switch("fuse", fuse)
        self.choose = MostAttended(options.one_of("score", score, ("mean", "class")))

    def start(self, x: Tensor) -> Kept:
        return Kept(torch.arange(1, self.shape.tokens, device=x.device).expand(x.shape[0], -1))

    def step(self, index: int, layer: Layer, x: Tensor, state: Kept) -> tuple[Tensor, Kept]:
        keep = self._kept(x.shape[1] - 1)
        if index not in self.drop_layers or keep == x.shape[1] - 1:
            return plain_step(layer, x), state
        q, k, v = layer.split(layer.norm(x))
        weights, best = self.choose(q, k, keep)
        x = x + layer.merge(weights @ v)
        x, state = self._drop(x, best, state)
        return x + layer.feed_forward(x), state

    def _drop(self, x: Tensor, best: Best, state: Kept) -> tuple[Tensor, Kept]:
        """The class token, the best patch tokens in their old order and, if asked for, the fused one."""
        patches = x[:, 1:]
        parts, ids = [x[:, :1], take(patches, best.positions)], take(state.ids, best.positions)
        if self.fuse:
            parts.append(back(best.dropped, x).unsqueeze(1) @ patches)
            ids = torch.cat((ids, torch.full_like(ids[:, :1], self.shape.tokens)), dim=1)
        return torch.cat(parts, dim=1), Kept(ids)

    def _kept(self, patches: int) -> int:
        return math.ceil(self.keep_rate * patches)

    def static_form(self) -> str:
        return "The number of kept tokens is the method's own; of equal scores the earlier patch stays."

    def tokens(self) -> tuple[int, ...]:
        counts, patches = [], self.shape.patches
        for index in range(self.shape.depth):
            if index in self.drop_layers and self._kept(patches) < patches:
                patches = self._kept(patches) + self.fuse
            counts.append(patches + 1)
        return tuple(counts)

    def choices(self, index: int, state: Kept) -> Tensor | None:
        return survivors(state.ids, self.shape.tokens) if index in self.drop_layers else None


class MostAttended(Decision):
    """Attention weights (n, H, N, N) in the type of q, and the `keep` patch tokens that receive the most."""

    def __init__(self, score: str) -> None:
        super().__init__()
        self.score = score

    def forward(self, q: Tensor, k: Tensor, keep: int) -> tuple[Tensor, Best]:
        logits = (full(q) * q.shape[-1] ** -0.5) @ full(k).transpose(-2, -1)
        weights = logits.softmax(-1)
        rows = weights if self.score == "mean" else weights[:, :, :1]
        scores = rows.mean(2).mean(1)[:, 1:]
        mask = top_mask(scores, keep)
        return back(weights, q), Best(places(mask, keep), torch.where(mask, torch.zeros_like(scores), scores))


METHOD = EViT
