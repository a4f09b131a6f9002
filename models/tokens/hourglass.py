"""Hourglass: the patch tokens are clustered once, in front of one layer; the rest of the network runs on the centres.

Liang et al., "Expediting Large-Scale Vision Transformer for Dense Prediction without Fine-tuning", arXiv 2210.01035.
Soft k-means as in superpixel networks: a centre may claim only the tokens of its neighbourhood on the grid, every token
spreads over its centres by softmax, and the centres become the weighted means of their tokens.

The static form: pooling to the first centres is a constant matrix, the neighbourhood a constant mask. In

    softmax over c of  -T |f_j - s_c|²  =  softmax over c of  T (2 s_c·f_j - |s_c|²)

|f_j|² is the same for all centres and cancels. Distances do not change when all tokens are moved, so the tokens are
centred first; otherwise |s|² would reach 10⁴ in the middle of ViT-L and cost four digits of the logits.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from . import options
from .choose import Decision, back, full
from .layer import Layer, Reduction, ViTShape, plain_step

NAME = "hourglass"
OPTIONS = {
    "location": "the layer in front of which the tokens are clustered",
    "clusters": "number of clusters, a square such as 529 = 23x23",
    "iterations": "rounds of soft k-means (5)",
    "temperature": "sharpness of the assignment (1.0)",
    "window": "odd side of the neighbourhood, in clusters, that may claim a token (5)",
}


class Hourglass(Reduction[None]):
    """Layers before `location` see S tokens, the others `clusters` + 1."""

    def __init__(
        self,
        shape: ViTShape,
        *,
        location: int,
        clusters: int,
        iterations: int = 5,
        temperature: float = 1.0,
        window: int = 5,
    ) -> None:
        super().__init__(shape)
        self.location = options.whole("location", location, 0, shape.depth - 1, f"the network has {shape.depth} layers")
        self.clusters = clusters
        self.iterations = options.whole("iterations", iterations, 1, 1000)
        self.cluster = Cluster(shape.grid, _side(clusters, shape.grid), iterations, temperature, window)

    def step(self, index: int, layer: Layer, x: Tensor, state: None) -> tuple[Tensor, None]:
        if index == self.location:
            x = torch.cat((x[:, :1], self.cluster(x[:, 1:])), dim=1)
        return plain_step(layer, x), None

    def static_form(self) -> str:
        return "Every picture gets the same number of clusters; nothing is chosen, so there are no ties."

    def tokens(self) -> tuple[int, ...]:
        depth = self.shape.depth
        return (self.shape.tokens,) * self.location + (self.clusters + 1,) * (depth - self.location)


class Cluster(Decision):
    """Tokens (n, P, D) of a grid to centres (n, K, D), row-major; K = side². Its logits are large."""

    pool: Tensor
    forbidden: Tensor

    def __init__(self, grid: tuple[int, int], side: int, iterations: int, temperature: float, window: int) -> None:
        super().__init__()
        self.iterations = iterations
        self.temperature = options.positive("temperature", temperature)
        if options.whole("window", window, 1, 2 * side + 1) % 2 == 0:
            raise ValueError(f"window must be odd, such as 5; got {window}")
        pool = torch.kron(_pooling(grid[0], side), _pooling(grid[1], side))
        near = torch.kron(_near(grid[0], side, window // 2), _near(grid[1], side, window // 2))
        self.register_buffer("pool", pool, persistent=False)
        self.register_buffer("forbidden", -1e9 * (1 - near.T), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        f = full(tokens)
        middle = f.mean(1, keepdim=True)
        f = f - middle
        centres = back(self.pool, f) @ f
        for _ in range(self.iterations):
            centres = self._move(centres, f)
        return back(centres + middle, tokens)

    def _move(self, centres: Tensor, f: Tensor) -> Tensor:
        """One round: the centres (n, K, D) as the weighted means of the tokens f (n, P, D)."""
        lengths = (centres * centres).sum(-1).unsqueeze(1)
        logits = self.temperature * (2 * (f @ centres.transpose(1, 2)) - lengths)
        claims = (logits + back(self.forbidden, f)).softmax(-1).transpose(1, 2)
        return (claims @ f) / claims.sum(-1, keepdim=True).clamp(min=1e-16)


def _side(clusters: object, grid: tuple[int, int]) -> int:
    """h of the h x h clusters; raises ValueError unless it is a square that fits into the token grid."""
    limit = min(grid)
    side = math.isqrt(clusters) if isinstance(clusters, int) and clusters > 0 else 0
    if side < 1 or side * side != clusters or side > limit:
        raise ValueError(
            f"clusters must be a square from 1 to {limit * limit} (the token grid is {grid[0]}x{grid[1]}), such as"
            f" {(limit // 2) ** 2} = {limit // 2}x{limit // 2}; got {clusters!r}"
        )
    return side


def _pooling(size: int, side: int) -> Tensor:
    """(side, size): adaptive average pooling of a line; bins overlap where size is no multiple of side."""
    matrix = torch.zeros(side, size, device="cpu")
    for bin in range(side):
        first, last = bin * size // side, -(-(bin + 1) * size // side)
        matrix[bin, first:last] = 1 / (last - first)
    return matrix


def _near(size: int, side: int, reach: int) -> Tensor:
    """(side, size): 1 where a centre is at most `reach` cells from the token's home cell."""
    home = torch.arange(size, device="cpu") * side // size
    return ((torch.arange(side, device="cpu")[:, None] - home).abs() <= reach).float()


METHOD = Hourglass
