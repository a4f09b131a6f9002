"""The weight and bias of a layer norm, group norm or root-mean-square norm, apart from the norm."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from .affine import Affine, affine
from .graph import again, arguments, constant, double, is_op, shape

_NORMS = ("layer_norm", "group_norm", "rms_norm")


def of_norm(module: GraphModule, norm: Node) -> Affine | None:
    """The affine map with which a norm ends; None if it has none, or one that is computed."""
    if not is_op(norm, *_NORMS):
        return None
    stored = [arguments(norm).get(name) for name in ("weight", "bias")]
    if stored == [None, None] or any(part is not None and constant(module, part) is None for part in stored):
        return None
    scale, shift = (None if part is None else _laid_out(module, norm, part) for part in stored)
    one = torch.ones([1] * len(shape(norm)), dtype=torch.float64)
    return affine(one if scale is None else scale, torch.zeros_like(one) if shift is None else shift)


def _laid_out(module: GraphModule, norm: Node, part: Node) -> Tensor:
    value = double(module, part)
    rank = len(shape(norm))
    if is_op(norm, "group_norm"):
        return value.view(1, -1, *[1] * (rank - 2))
    return value.view(*[1] * (rank - value.dim()), *value.shape)


def bare(module: GraphModule, norm: Node) -> Node:
    """The norm without its weight and bias, in front of it."""
    absent = {name: None for name in ("weight", "bias") if name in arguments(norm)}
    return again(module, norm, **absent)
