"""Batch norm in eval mode, per channel: y = s·x + t, s = γ / √(σ² + ε), t = β − μ·s (arXiv 1502.03167)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from .graph import arguments, constant, double, is_op


def is_batch_norm(node: object) -> bool:
    return is_op(node, "batch_norm")


def why_not_constant(module: GraphModule, norm: Node) -> str | None:
    """Why the norm is not a fixed affine map, or None if it is."""
    given = arguments(norm)
    if given["training"]:
        return "the norm uses the statistics of the batch (training mode)"
    for name in ("running_mean", "running_var"):
        if constant(module, given[name]) is None:
            return f"its {name} is computed, not stored"
    for name in ("weight", "bias"):
        if given[name] is not None and constant(module, given[name]) is None:
            return f"its {name} is computed, not stored"
    return None


def scale_and_shift(module: GraphModule, norm: Node) -> tuple[Tensor, Tensor]:
    """(s, t), each float64 of shape (channels,)."""
    given = arguments(norm)
    mean, variance = double(module, given["running_mean"]), double(module, given["running_var"])
    scale = torch.rsqrt(variance + given["eps"])
    if given["weight"] is not None:
        scale = scale * double(module, given["weight"])
    shift = -mean * scale
    if given["bias"] is not None:
        shift = shift + double(module, given["bias"])
    return scale, shift
