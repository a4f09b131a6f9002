"""Random tensors (MIL: `random`). A seed that is not negative makes them repeat from run to run.

Only the distribution is defined: Core ML's own numbers cannot be reproduced.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from .operator import Ints, Table, bounded


def _generator(seed: int) -> Generator | None:
    return None if seed < 0 else torch.Generator().manual_seed(seed)


def random_uniform(shape: Ints, low: float = 0.0, high: float = 1.0, seed: int = -1) -> Tensor:
    """Uniform in low..high."""
    return torch.rand(bounded(shape), generator=_generator(seed)) * (high - low) + low


def random_normal(shape: Ints, mean: float = 0.0, stddev: float = 1.0, seed: int = -1) -> Tensor:
    """Normal with `mean` and `stddev`."""
    return torch.randn(bounded(shape), generator=_generator(seed)) * stddev + mean


def random_bernoulli(shape: Ints, prob: float = 0.5, seed: int = -1) -> Tensor:
    """1 with probability `prob`, else 0."""
    return torch.bernoulli(torch.full(bounded(shape), prob), generator=_generator(seed))


def random_categorical(x: Tensor, mode: str = "logits", size: int = 1, seed: int = -1) -> Tensor:
    """`size` draws along the last axis of x, which holds logits or probabilities."""
    weights = torch.softmax(x, -1) if mode == "logits" else x
    rows = weights.reshape(-1, weights.shape[-1])
    drawn = torch.multinomial(rows, size, replacement=True, generator=_generator(seed))
    return drawn.reshape(*x.shape[:-1], size)


COMPUTED: Table = {
    "random_uniform": random_uniform,
    "random_normal": random_normal,
    "random_bernoulli": random_bernoulli,
    "random_categorical": random_categorical,
}
MOVED: Table = {}
