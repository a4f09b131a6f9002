"""SMYRF: tokens are sorted by a random projection, cut into equal chunks, and each chunk attends to itself.

Daras et al., "SMYRF: Efficient Attention using Asymmetric Clustering", arXiv 2010.05315. Queries and keys are lifted so
that all have one common length, which makes a small distance mean a large product; several rounds of projections are
combined by the softmax of their log-sum-exp.

As in the seed, the chunks of c tokens are cut from one long list over rounds, pictures and heads, so where c does not
divide the token count they straddle them, and **the result for a picture depends on the others in its batch**. It is
no cheaper than full attention when rounds times c exceeds the token count.

The seed draws the projections anew in every call. Here they are drawn once, from `seed`, and stored with the model.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from . import options
from .choose import Decision, ascending, back, full
from .layer import Layer, Reduction, ViTShape, plain_step

NAME = "smyrf"
OPTIONS = {
    "cluster": "tokens per chunk; has to divide rounds x heads x tokens",
    "rounds": "number of random projections (32)",
    "first_layer": "the first layer with chunked attention",
    "last_layer": "the layer in front of which it ends; -1 is the end (-1)",
    "seed": "of the random projections (0)",
}


class SMYRF(Reduction[Tensor]):
    """Its state is where the last layer put each query: its position in the long list, int64 (R, n*H, N)."""

    def __init__(
        self,
        shape: ViTShape,
        *,
        cluster: int,
        rounds: int = 32,
        first_layer: int = 0,
        last_layer: int = -1,
        seed: int = 0,
    ) -> None:
        super().__init__(shape)
        self.layers = options.span(first_layer, last_layer, shape.depth)
        self.seed = options.whole("seed", seed, 0, 2**63 - 1)
        self.rounds = options.whole("rounds", rounds, 1, 1024)
        self.cluster = _checked_cluster(cluster, rounds, shape)
        self.chunks = ChunkNumbers(self.cluster, shape.heads)
        draws = torch.Generator(device="cpu").manual_seed(self.seed)
        self.order = nn.ModuleDict(
            {
                str(index): SortedOrder(torch.randn(shape.head_width + 2, rounds, generator=draws, device="cpu"))
                for index in self.layers
            }
        )

    def step(self, index: int, layer: Layer, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if index not in self.layers:
            return plain_step(layer, x), state
        heads = layer.split(layer.norm(x))
        q, k, v = (part.reshape(-1, *part.shape[2:]) for part in heads)
        mixed, state = self._chunked(q, k, v, *self.order[str(index)](q, k))
        x = x + layer.merge(mixed.reshape(heads[2].shape))
        return x + layer.feed_forward(x), state

    def _chunked(self, q: Tensor, k: Tensor, v: Tensor, q_order: Tensor, k_order: Tensor) -> tuple[Tensor, Tensor]:
        """All rounds of attention among chunk neighbours: (n*H, N, d), and the inverse of q_order."""
        rounds, rows, size = q_order.shape
        q = _sorted(q * q.shape[-1] ** -0.5, q_order).reshape(-1, self.cluster, q.shape[-1])
        k = _sorted(k, k_order).reshape(-1, self.cluster, k.shape[-1])
        values = _sorted(v, k_order).reshape(-1, self.cluster, v.shape[-1])
        logits = q @ k.transpose(-2, -1)
        weight = logits.logsumexp(-1).reshape(rounds, rows, size)
        mixed = (logits.softmax(-1) @ values).reshape(rounds, rows, size, -1)
        place = q_order.argsort(dim=-1)
        weight = weight.gather(2, place).softmax(0)
        mixed = mixed.gather(2, place.unsqueeze(-1).expand(mixed.shape))
        return (weight.unsqueeze(-1) * mixed).sum(0), place

    def static_form(self) -> str:
        if self.shape.tokens % self.cluster == 0:
            batch = "Chunks stay within a picture and head."
        else:
            batch = (
                "Chunks straddle heads and pictures, so a picture's result depends on its batch, whose size is fixed."
            )
        return (
            f"The random projections are drawn once (seed {self.seed}) and stored; the seed project draws them in every"
            f" call. {batch} Equal projections keep their order."
        )

    def choices(self, index: int, state: Tensor) -> Tensor | None:
        """The label of a query is 1 + the number of its chunk, (n, R * H, S)."""
        return self.chunks(state) if index in self.layers else None


class SortedOrder(Decision):
    """For queries and keys (n*H, N, d), the token numbers in ascending order of each projection, int64 (R, n*H, N)."""

    alpha: Tensor

    def __init__(self, alpha: Tensor) -> None:
        super().__init__()
        self.register_buffer("alpha", alpha, persistent=False)

    def forward(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        q, k = full(q), full(k)
        q_length, k_length = q.square().sum(-1, keepdim=True), k.square().sum(-1, keepdim=True)
        common = q_length.amax(1, keepdim=True) + k_length.amax(1, keepdim=True)
        q_lift, k_lift = (common - q_length).sqrt(), (common - k_length).sqrt()
        zero = torch.zeros_like(q_lift)
        return self._order(torch.cat((q, zero, q_lift), -1)), self._order(torch.cat((k, k_lift, zero), -1))

    def _order(self, lifted: Tensor) -> Tensor:
        return ascending((lifted @ back(self.alpha, lifted)).permute(2, 0, 1))


class ChunkNumbers(Decision):
    """Places (R, n*H, N) in the sorted rows to 1 + the number of the chunk that each lies in, int32 (n, R * H, N)."""

    def __init__(self, cluster: int, heads: int) -> None:
        super().__init__()
        self.cluster = cluster
        self.heads = heads

    def forward(self, place: Tensor) -> Tensor:
        rounds, rows, size = place.shape
        start = torch.arange(rounds * rows, device=place.device).reshape(rounds, rows, 1) * size
        later = torch.floor((place + start % self.cluster).to(torch.float32) / self.cluster)
        number = later.to(torch.int32) + (start // self.cluster + 1).to(torch.int32)
        labels = number.reshape(rounds, -1, self.heads, size)
        return labels.transpose(0, 1).reshape(-1, rounds * self.heads, size)


def _sorted(x: Tensor, order: Tensor) -> Tensor:
    """x (n*H, N, d) in each round's order (R, n*H, N): (R, n*H, N, d)."""
    rounds = order.shape[0]
    return x.unsqueeze(0).expand(rounds, *x.shape).gather(2, order.unsqueeze(-1).expand(*order.shape, x.shape[-1]))


def _checked_cluster(cluster: object, rounds: int, shape: ViTShape) -> int:
    checked = options.whole("cluster", cluster, 1, shape.tokens, f"the network has {shape.tokens} tokens")
    total = rounds * shape.heads * shape.tokens
    if total % checked:
        near = min((size for size in range(1, shape.tokens + 1) if total % size == 0), key=lambda x: abs(x - checked))
        raise ValueError(
            f"cluster must divide rounds x heads x tokens = {rounds} x {shape.heads} x {shape.tokens}, as {near} does;"
            f" got {checked}"
        )
    return checked


METHOD = SMYRF
