"""Normalisations (MIL: `normalization`). Variances are biased: the sum of squares over n, not n - 1."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .operator import Ints, Table


def batch_norm(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    """gamma * (x - mean) / sqrt(variance + epsilon) + beta, per channel of x (N, C, *D)."""
    return F.batch_norm(x, mean, variance, gamma, beta, False, 0.0, epsilon)


def instance_norm(x: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None, epsilon: float = 1e-5) -> Tensor:
    """Each channel of each sample of x (N, C, *D) by its own mean and variance, then gamma and beta per channel."""
    axes = list(range(2, x.ndim))
    shape = [1, -1] + [1] * len(axes)
    return _normalized(x, axes, gamma, beta, shape, epsilon)


def layer_norm(
    x: Tensor,
    axes: Ints | None = None,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    """x by its mean and variance over `axes` (default: all), then gamma and beta, whose shape is that of the axes."""
    chosen = sorted(a % x.ndim for a in (range(x.ndim) if axes is None else axes))
    sizes = [x.shape[a] for a in chosen]
    if chosen == list(range(x.ndim - len(chosen), x.ndim)):
        weight, bias = (None if t is None else t.reshape(sizes) for t in (gamma, beta))
        return F.layer_norm(x, sizes, weight, bias, epsilon)
    shape = [x.shape[a] if a in chosen else 1 for a in range(x.ndim)]
    return _normalized(x, chosen, gamma, beta, shape, epsilon)


def _normalized(
    x: Tensor, axes: list[int], gamma: Tensor | None, beta: Tensor | None, shape: list[int], epsilon: float
) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) over `axes`, scaled and shifted by gamma and beta of `shape`."""
    variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
    y = (x - mean) / torch.sqrt(variance + epsilon)
    if gamma is not None:
        y = y * gamma.reshape(shape)
    return y if beta is None else y + beta.reshape(shape)


def l2_norm(x: Tensor, epsilon: float = 1e-6) -> Tensor:
    """x / sqrt(sum(x * x) + epsilon), the sum over the last three axes."""
    axes = list(range(max(0, x.ndim - 3), x.ndim))
    return x / torch.sqrt((x * x).sum(axes, keepdim=True) + epsilon)


def local_response_norm(x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """x / (k + alpha / size * sum of squares of `size` neighbouring channels) ** beta; x (N, C, *D)."""
    channels = x.shape[1]
    before, after = size // 2, size - 1 - size // 2
    squares = F.pad((x * x).transpose(1, -1), (before, after)).transpose(1, -1)
    total = torch.stack([squares.narrow(1, i, channels) for i in range(size)]).sum(0)
    return x / (k + alpha / size * total) ** beta


COMPUTED: Table = {
    "batch_norm": batch_norm,
    "instance_norm": instance_norm,
    "layer_norm": layer_norm,
    "l2_norm": l2_norm,
    "local_response_norm": local_response_norm,
}
MOVED: Table = {}
