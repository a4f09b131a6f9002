"""ToMe: every layer merges its r most similar token pairs, between attention and MLP.

Bolya et al., "Token Merging: Your ViT but Faster", arXiv 2210.09461. Tokens at even positions (A) look for their most
similar partner among the odd ones (B) by the cosine of their mean keys; the r best pairs merge, weighted by size.
From the second layer on a token of size s counts s times in the attention: log s is added to its logits.

Behind a merge come the unmerged A tokens in their old order, then all of B: the next layer splits by the new positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from . import options
from .choose import Decision, first_of_greatest, full, places, survivors, take, top_mask
from .layer import Layer, Reduction, ViTShape, attend

NAME = "tome"
OPTIONS = {
    "r": "pairs merged per layer; a list gives one number for each layer, the rest 0",
    "inflect": "how the merging leans over the depth: 1 early .. -1 late, 0 level; r is then the mean",
}


class Merged(NamedTuple):
    """sizes (n, N): how many of the first tokens each one stands for, None before the first merge; ids int64 (n, N)."""

    sizes: Tensor | None
    ids: Tensor


class Pairs(NamedTuple):
    """What merges, among the candidates (A without the class token).

    sources, int64 (n, r): the positions of those that merge; others: of the rest. into (n, |B|, r): 1 where a source
    goes into that token of B, so that a matrix product adds the sources up.
    """

    sources: Tensor
    into: Tensor
    others: Tensor


class ToMe(Reduction[Merged]):
    """r pairs per layer, but never more than half of the tokens; the last layer merges as well, as in the seed."""

    def __init__(self, shape: ViTShape, *, r: int | Sequence[int] | str, inflect: float | None = None) -> None:
        super().__init__(shape)
        self.schedule = _schedule(r, inflect, shape)
        self.match = Match()

    def start(self, x: Tensor) -> Merged:
        return Merged(None, torch.arange(self.shape.tokens, device=x.device).expand(x.shape[0], -1))

    def step(self, index: int, layer: Layer, x: Tensor, state: Merged) -> tuple[Tensor, Merged]:
        q, k, v = layer.split(layer.norm(x))
        bias = None if state.sizes is None else state.sizes.log()[:, None, None, :]
        x = x + attend(layer, q, k, v, bias)
        r = _possible(self.schedule[index], x.shape[1])
        if r > 0:
            x, state = _merge(x, state, self.match(k, r))
        return x + layer.feed_forward(x), state

    def static_form(self) -> str:
        return "The number of merges is the method's own; of equal similarities the earlier token and partner win."

    def tokens(self) -> tuple[int, ...]:
        counts, now = [], self.shape.tokens
        for r in self.schedule:
            now -= _possible(r, now)
            counts.append(now)
        return tuple(counts)

    def choices(self, index: int, state: Merged) -> Tensor | None:
        return survivors(state.ids, self.shape.tokens) if self.schedule[index] > 0 else None


class Match(Decision):
    """From the keys (n, H, N, d): the r candidates that are most similar to a token of B. Of equal ones the earlier."""

    def forward(self, k: Tensor, r: int) -> Pairs:
        metric = F.normalize(full(k).mean(1), dim=-1)
        candidates, b = metric[:, 2::2], metric[:, 1::2]
        similarity, partner = first_of_greatest(candidates @ b.transpose(1, 2))
        merged = top_mask(similarity, r)
        sources = places(merged, r)
        rest = candidates.shape[1] - r
        others = places(merged.logical_not(), rest) if rest else sources[:, :0]
        numbers = torch.arange(b.shape[1], dtype=partner.dtype, device=partner.device)
        into = numbers[:, None] == take(partner, sources).unsqueeze(1)
        return Pairs(sources, into.to(k.dtype), others)


def _merge(x: Tensor, state: Merged, pairs: Pairs) -> tuple[Tensor, Merged]:
    """Tokens, sizes and numbers behind the merge: class token, unmerged candidates, B."""
    sizes = torch.ones_like(x[:, :, 0]) if state.sizes is None else state.sizes
    moved = take(sizes[:, 2::2], pairs.sources)
    weight = sizes[:, 1::2]
    grown = weight + (pairs.into @ moved.unsqueeze(-1)).squeeze(-1)
    summed = x[:, 1::2] * weight.unsqueeze(-1) + pairs.into @ (take(x[:, 2::2], pairs.sources) * moved.unsqueeze(-1))
    b = summed / grown.unsqueeze(-1)

    def join(whole: Tensor, b: Tensor) -> Tensor:
        return torch.cat((whole[:, :1], take(whole[:, 2::2], pairs.others), b), dim=1)

    return join(x, b), Merged(join(sizes, grown), join(state.ids, state.ids[:, 1::2]))


def _possible(r: int, tokens: int) -> int:
    return min(r, (tokens - 1) // 2)


def _schedule(r: int | Sequence[int] | str, inflect: float | None, shape: ViTShape) -> tuple[int, ...]:
    """Pairs per layer: the same r, or a list padded with 0, or a slope from r (1 - inflect) to r (1 + inflect)."""
    why = f"the network has {shape.tokens} tokens"
    if isinstance(r, Sequence):
        given = [options.whole("r", one, 0, shape.tokens - 1, why) for one in options.numbers(r)]
        if len(given) > shape.depth or inflect is not None:
            raise ValueError(f"r as a list has at most {shape.depth} numbers and takes no inflect; got {r!r}")
        return tuple(given + [0] * (shape.depth - len(given)))
    options.whole("r", r, 0, shape.tokens - 1, why)
    if inflect is None:
        return (r,) * shape.depth
    low = int(r * (1 - options.between("inflect", inflect, -1, 1)))
    step = (2 * r - 2 * low) / max(shape.depth - 1, 1)
    return tuple(int(low + index * step) for index in range(shape.depth))


METHOD = ToMe
