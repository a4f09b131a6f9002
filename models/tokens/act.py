"""ACT: queries that hash into the same bucket share their mean, and with it one row of attention.

Zheng et al., "End-to-End Object Detection with Adaptive Clustering Transformer", arXiv 2011.09315. Locality-sensitive
hashing (E2LSH): digit t of a query is floor((q·W_t + b_t) / 8), counted from the smallest of its head; the bucket is
the number that the digits form in base 4, in 64-bit wrap-around integers. Digits above 3 carry into the next place.

The static form multiplies by the matrix "same bucket, divided by the bucket's size" instead of gathering groups: the
same result, but **nothing is saved**: the export is for parity, not for speed. Core ML has no 64-bit integers, so the
number is kept as four limbs of 16 bits in float32, exact for digits below 768.

The seed draws W and b anew in every call. Here they are drawn once, from `seed`, and stored with the model.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import options
from .choose import Decision, back, full
from .layer import Layer, Reduction, ViTShape, attend, plain_step

NAME = "act"
OPTIONS = {
    "q_hashes": "digits of a query's bucket, 1 to 32",
    "group_k": "group the keys and values as well (false)",
    "k_hashes": "digits of a key's bucket, 1 to 32 (32); counts with group_k only",
    "first_layer": "the first layer that groups (0)",
    "last_layer": "the layer in front of which grouping ends; -1 is the end (-1)",
    "seed": "of the random projections (0)",
}

BUCKET = 8
BASE = 4
LIMB_DIGITS = 8
LIMBS = 4


class ACT(Reduction[Tensor]):
    """Its state is the grouping of the queries in the last layer: bool (n, H, S, S), true where two share a bucket."""

    def __init__(
        self,
        shape: ViTShape,
        *,
        q_hashes: int,
        group_k: bool = False,
        k_hashes: int = 32,
        first_layer: int = 0,
        last_layer: int = -1,
        seed: int = 0,
    ) -> None:
        super().__init__(shape)
        self.layers = options.span(first_layer, last_layer, shape.depth)
        self.seed = options.whole("seed", seed, 0, 2**63 - 1)
        self.q_hashes = options.whole("q_hashes", q_hashes, 1, LIMBS * LIMB_DIGITS)
        self.k_hashes = options.whole("k_hashes", k_hashes, 1, LIMBS * LIMB_DIGITS)
        draws = torch.Generator(device="cpu").manual_seed(self.seed)
        self.group_q = _buckets(self.layers, shape, q_hashes, draws)
        wanted = options.switch("group_k", group_k)
        self.group_k = _buckets(self.layers, shape, k_hashes, draws) if wanted else None

    def step(self, index: int, layer: Layer, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if index not in self.layers:
            return plain_step(layer, x), state
        q, k, v = layer.split(layer.norm(x))
        same = self.group_q[str(index)](q * q.shape[-1] ** -0.5)
        q = _share(same, q)
        if self.group_k is not None:
            same_k = self.group_k[str(index)](k)
            k, v = _share(same_k, k), _share(same_k, v)
        x = x + attend(layer, q, k, v)
        return x + layer.feed_forward(x), same

    def static_form(self) -> str:
        return (
            f"The random projections are drawn once (seed {self.seed}) and stored; the seed project draws them in every"
            " call. Groups are averaged by a matrix of all queries, which saves nothing."
        )

    def choices(self, index: int, state: Tensor) -> Tensor | None:
        """The label of a query is 1 + the number of the first query in its bucket, (n, H, S)."""
        if index not in self.layers:
            return None
        number = torch.arange(1, state.shape[-1] + 1, device=state.device)
        beyond = torch.full_like(number, state.shape[-1] + 1)
        return torch.where(state, number, beyond).amin(-1).to(torch.int32)


class Buckets(Decision):
    """Vectors (n, H, N, d) to bool (n, H, N, N): which of them share a bucket. weight (d, t), bias (t)."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", bias, persistent=False)

    def forward(self, vectors: Tensor) -> Tensor:
        x = full(vectors)
        digits = torch.floor((x @ back(self.weight, x) + back(self.bias, x)) / BUCKET)
        limbs = code_limbs(digits - digits.amin(2, keepdim=True))
        same = limbs[0].unsqueeze(-1) == limbs[0].unsqueeze(-2)
        for limb in limbs[1:]:
            same = torch.logical_and(same, limb.unsqueeze(-1) == limb.unsqueeze(-2))
        return same


def code_limbs(digits: Tensor) -> tuple[Tensor, ...]:
    """The code of each digit vector (..., t), t <= 32, modulo 2^64: limbs of 16 bits, lowest first, each (...)."""
    carry, limbs = torch.zeros_like(digits[..., 0]), []
    for limb in range(LIMBS):
        first = limb * LIMB_DIGITS
        for place in range(min(LIMB_DIGITS, digits.shape[-1] - first)):
            carry = carry + digits[..., first + place] * BASE**place
        above = torch.floor(carry / 2**16)
        limbs.append(carry - above * 2**16)
        carry = above
    return tuple(limbs)


def _share(same: Tensor, x: Tensor) -> Tensor:
    """Every vector of x (n, H, N, d) replaced by the mean of its bucket."""
    members = same.to(x.dtype)
    return (members @ x) / members.sum(-1, keepdim=True)


def _buckets(layers: range, shape: ViTShape, hashes: int, draws: torch.Generator) -> torch.nn.ModuleDict:
    """One projection per layer, shared by its heads: weights normal, biases uniform in [0, 1), as in the seed."""
    drawn = {}
    for index in layers:
        weight = torch.randn(shape.head_width, hashes, generator=draws, device="cpu")
        drawn[str(index)] = Buckets(weight, torch.rand(hashes, generator=draws, device="cpu"))
    return torch.nn.ModuleDict(drawn)


METHOD = ACT
