"""Activations (MIL: `activation`): element by element, `softmax` along an axis.

Parameters given per channel are vectors over axis 1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .operator import Table


def clamped_relu(x: Tensor, alpha: float, beta: float) -> Tensor:
    """min(x, beta) where x >= 0, min(alpha * x, beta) elsewhere."""
    return torch.where(x >= 0, x, x * alpha).clamp(max=beta)


def elu(x: Tensor, alpha: float) -> Tensor:
    """x where x >= 0, alpha * (exp(x) - 1) elsewhere."""
    return torch.where(x >= 0, x, alpha * torch.expm1(x))


def gelu(x: Tensor, mode: str = "EXACT") -> Tensor:
    """x * Phi(x) (Hendrycks & Gimpel, arXiv 1606.08415); by `mode` exact, or its tanh or sigmoid approximation."""
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    return F.gelu(x, approximate="tanh" if mode == "TANH_APPROXIMATION" else "none")


def leaky_relu(x: Tensor, alpha: float) -> Tensor:
    """x where x >= 0, alpha * x elsewhere."""
    return torch.where(x >= 0, x, alpha * x)


def linear_activation(x: Tensor, alpha: float, beta: float = 0.0) -> Tensor:
    """alpha * x + beta."""
    return alpha * x + beta


def prelu(x: Tensor, alpha: Tensor) -> Tensor:
    """x where x >= 0, alpha[channel] * x elsewhere."""
    return torch.where(x >= 0, x, _per_channel(alpha, x) * x)


def relu(x: Tensor) -> Tensor:
    """max(x, 0)."""
    return torch.relu(x)


def relu6(x: Tensor) -> Tensor:
    """min(max(x, 0), 6)."""
    return F.relu6(x)


def scaled_tanh(x: Tensor, alpha: float, beta: float) -> Tensor:
    """alpha * tanh(beta * x)."""
    return alpha * torch.tanh(x * beta)


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return torch.sigmoid(x)


def sigmoid_hard(x: Tensor, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    """min(max(alpha * x + beta, 0), 1)."""
    return (alpha * x + beta).clamp(0, 1)


def silu(x: Tensor) -> Tensor:
    """x * sigmoid(x)."""
    return F.silu(x)


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """exp(x) / sum(exp(x)) along `axis`."""
    return torch.softmax(x, axis)


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)), in the form that neither overflows nor cancels."""
    return torch.log1p(torch.exp(-x.abs())) + x.clamp(min=0)


def softplus_parametric(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """alpha[channel] * log(1 + exp(beta[channel] * x))."""
    return _per_channel(alpha, x) * softplus(x * _per_channel(beta, x))


def softsign(x: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return F.softsign(x)


def thresholded_relu(x: Tensor, alpha: float) -> Tensor:
    """x where x >= alpha, 0 elsewhere."""
    return torch.where(x >= alpha, x, torch.zeros_like(x))


def _per_channel(vector: Tensor, x: Tensor) -> Tensor:
    """A vector over axis 1 of `x` (N, C, …), shaped to broadcast; scalars and low ranks as they are."""
    if vector.ndim == 0 or x.ndim < 3:
        return vector
    return vector.reshape([-1] + [1] * (x.ndim - 2))


COMPUTED: Table = {
    "clamped_relu": clamped_relu,
    "elu": elu,
    "gelu": gelu,
    "leaky_relu": leaky_relu,
    "linear_activation": linear_activation,
    "prelu": prelu,
    "scaled_tanh": scaled_tanh,
    "sigmoid": sigmoid,
    "sigmoid_hard": sigmoid_hard,
    "silu": silu,
    "softmax": softmax,
    "softplus": softplus,
    "softplus_parametric": softplus_parametric,
    "softsign": softsign,
}
MOVED: Table = {"relu": relu, "relu6": relu6, "thresholded_relu": thresholded_relu}
