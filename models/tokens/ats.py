"""ATS: a sampling layer keeps the patch tokens at evenly spaced heights of the cumulative distribution of their scores.

Fayyaz et al., "Adaptive Token Sampling for Efficient Vision Transformers", arXiv 2111.15667. A token's score is the
class token's attention to it times the length of its value. Sorted by score, cumulated and rescaled to [0, 1], the
distribution is read at S - 1 heights, and the tokens that are nearest to one are kept: many where scores are level, few
where one token towers. How many is known from the picture alone.

The static form never moves a token: it carries a mask of the live ones, and dead ones are hidden from every later
attention. It equals the dynamic method at batch 1, whatever the batch, and saves nothing. With a `token_bound` the
sequence is really cut to that many slots behind a sampling layer; of more live tokens the best scored stay, which is no
longer the dynamic method, and fewer leave slots empty.

The seed hands the normalised tokens on as the residual of a sampling layer. That is kept (its accuracies belong to it);
`residual="input"` is the paper's layer.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from . import options
from .choose import Decision, back, full, places, survivors, take, top_mask
from .layer import Layer, Reduction, ViTShape, attend, plain_step

NAME = "ats"
OPTIONS = {
    "layers": "sampling layers, such as 20 or 3,6,9",
    "token_bound": "most tokens, class token included, behind a sampling layer; 0 is no bound (0)",
    "residual": "of a sampling layer: norm (the seed's) or input (the paper's)",
}

EPS = 1e-6
HIDDEN = -1e4  # exists in float16, and exp of it is 0 even in float32


class Live(NamedTuple):
    """mask (n, N): 1 for live tokens, 0 for empty slots, None while all live; ids: original numbers, int64 (n, N)."""

    mask: Tensor | None
    ids: Tensor


class ATS(Reduction[Live]):
    """Samples in `layers`; the class token always lives, the weakest patch token never does."""

    def __init__(
        self, shape: ViTShape, *, layers: tuple[int, ...] | int | str, token_bound: int = 0, residual: str = "norm"
    ) -> None:
        super().__init__(shape)
        self.layers = options.layers("layers", layers, shape.depth)
        if token_bound != 0:
            why = f"the network has {shape.tokens} tokens; 0 is no bound"
            options.whole("token_bound", token_bound, 2, shape.tokens, why)
        self.token_bound = token_bound or shape.tokens
        self.residual = options.one_of("residual", residual, ("norm", "input"))
        self.sample = Sample(shape.tokens, self.token_bound)

    def start(self, x: Tensor) -> Live:
        return Live(None, torch.arange(self.shape.tokens, device=x.device).expand(x.shape[0], -1))

    def step(self, index: int, layer: Layer, x: Tensor, state: Live) -> tuple[Tensor, Live]:
        if index in self.layers:
            return self._sampled(layer, x, state)
        if state.mask is None:
            return plain_step(layer, x), state
        hidden = ((1 - state.mask) * HIDDEN)[:, None, None, :]
        x = x + attend(layer, *layer.split(layer.norm(x)), hidden)
        return x + layer.feed_forward(x), state

    def _sampled(self, layer: Layer, x: Tensor, state: Live) -> tuple[Tensor, Live]:
        """A sampling layer: its attention rows are computed for the slots that stay, over all live tokens."""
        y = layer.norm(x)
        q, k, v = layer.split(y)
        mask = torch.ones_like(x[:, :, 0]) if state.mask is None else state.mask
        picked, slots = self.sample(q[:, :, :1], k, v, mask)
        rest, ids = (y if self.residual == "norm" else x), state.ids
        if slots is not None:
            rest, q, picked, ids = take(rest, slots), _take_rows(q, slots), take(picked, slots), take(ids, slots)
        x = rest + layer.merge(_weights(q, k, mask) @ v)
        return x + layer.feed_forward(x), Live(back(picked, x), ids)

    def static_form(self) -> str:
        dead = "Dropped tokens are masked, not removed: the result of the dynamic method at batch 1. "
        if self.token_bound < self.shape.tokens:
            dead = (
                f"At most {self.token_bound} tokens stay behind a sampling layer, the best scored if more were picked;"
                " empty slots are masked. "
            )
        return dead + "Of equal scores the earlier token comes first."

    def tokens(self) -> tuple[int, ...]:
        counts, now = [], self.shape.tokens
        for index in range(self.shape.depth):
            now = min(now, self.token_bound) if index in self.layers else now
            counts.append(now)
        return tuple(counts)

    def choices(self, index: int, state: Live) -> Tensor | None:
        if index not in self.layers or state.mask is None:
            return None
        return survivors(torch.where(state.mask > 0, state.ids, -torch.ones_like(state.ids)), self.shape.tokens)


class Sample(Decision):
    """Which tokens are picked, as a mask (n, N) of 0 and 1, and if N exceeds the bound, the slots (n, bound) that stay.

    Needs no sort: the cumulative sum of the sorted scores at token j is the sum over all tokens that come before j or
    are j, and of equal scores the earlier token comes first.
    """

    def __init__(self, tokens: int, bound: int) -> None:
        super().__init__()
        self.heights = tokens - 1
        self.bound = bound

    def forward(self, class_query: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> tuple[Tensor, Tensor | None]:
        live = full(mask)[:, 1:]
        attention = _weights(full(class_query), full(k), full(mask)).sum(1)[:, 0, 1:]
        lengths = full(v)[:, :, 1:].square().sum((1, 3)).sqrt()
        scores = attention * lengths * live
        scores = scores / scores.sum(-1, keepdim=True).clamp(min=1e-30)
        picked = self._pick(scores, live)
        slots = _slots(scores, picked, self.bound - 1) if self.bound < mask.shape[1] else None
        return torch.cat((torch.ones_like(scores[:, :1]), picked.to(scores.dtype)), dim=1), slots

    def _pick(self, scores: Tensor, live: Tensor) -> Tensor:
        before = _comes_before(scores, live)
        height = (before @ scores.unsqueeze(-1)).squeeze(-1)
        beyond = 1e4 * (1 - live)
        lowest = (height + beyond).amin(-1, keepdim=True)
        highest = (height - beyond).amax(-1, keepdim=True)
        height = (height - lowest) / (highest - lowest).clamp(min=1e-30)
        rising = torch.logical_and(height > 0, live > 0)
        first = torch.where(rising, height, torch.ones_like(height)).amin(-1, keepdim=True)
        steps = torch.arange(self.heights, dtype=height.dtype, device=height.device) / max(self.heights - 1, 1)
        readings = first + steps * (1 - first)
        return torch.logical_and(_nearest(readings, height + beyond, before.sum(-1)), live > 0)


def _comes_before(scores: Tensor, live: Tensor) -> Tensor:
    """(n, P, P): 1 at [j, i] where live token i is j or precedes it in ascending order of scores."""
    number = torch.arange(scores.shape[-1], dtype=scores.dtype, device=scores.device)
    ours, others = scores.unsqueeze(-1), scores.unsqueeze(-2)
    earlier = number.unsqueeze(0) <= number.unsqueeze(1)
    first = torch.logical_or(others < ours, torch.logical_and(others == ours, earlier))
    return first.to(scores.dtype) * live.unsqueeze(-2)


def _nearest(readings: Tensor, height: Tensor, rank: Tensor) -> Tensor:
    """Bool (n, P): the tokens that are nearest to a reading (n, T); of equally near ones the first in rank."""
    distance = (height.unsqueeze(1) - readings.unsqueeze(2)).abs()
    near = distance == distance.amin(-1, keepdim=True)
    order = torch.where(near, rank.unsqueeze(1), torch.full_like(rank, 2.0 * rank.shape[-1]).unsqueeze(1))
    nearest = torch.logical_and(near, order == order.amin(-1, keepdim=True))
    return nearest.to(height.dtype).amax(1) > 0


def _weights(q: Tensor, k: Tensor, mask: Tensor) -> Tensor:
    """Attention weights (n, H, rows, N) over the live tokens, with the method's smoothing by EPS."""
    live = mask[:, None, None, :]
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1) + (1 - live) * HIDDEN
    weights = (logits - logits.amax(-1, keepdim=True)).exp() * live
    count = mask.sum(-1)[:, None, None, None]
    # tensor / tensor, since coremltools 9 adds 1e-4 to the divisor of scalar / tensor
    smoothing = live * (torch.full_like(count, EPS) / count)
    return (weights + smoothing) / (weights.sum(-1, keepdim=True) + EPS)


def _slots(scores: Tensor, picked: Tensor, room: int) -> Tensor:
    """int64 (n, room + 1): the class token and the picked tokens in their order, the best scored if too many."""
    chosen = top_mask(torch.where(picked, scores, -torch.ones_like(scores)), room)
    index = places(chosen, room) + 1
    return torch.cat((torch.zeros_like(index[:, :1]), index), dim=1)


def _take_rows(q: Tensor, index: Tensor) -> Tensor:
    """The tokens at index (n, k) of q (n, H, N, d): (n, H, k, d)."""
    return q.gather(2, index[:, None, :, None].expand(-1, q.shape[1], -1, q.shape[3]))


METHOD = ATS
