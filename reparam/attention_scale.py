"""The scale of an attention, softmax(s·q·kᵀ)·v, goes into the layer that makes q, or else k.

`scaled_dot_product_attention` multiplies by 1/√d unless it is told otherwise. Afterwards it is told 1: the converters
write the scale as products with q and with k, and drop those with 1.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.fx import GraphModule, Node

from . import affine_previous
from .affine import affine
from .graph import again, arguments, is_op, shape, tied
from .rewrite import Match

NAME = "attention-scale"


def find(module: GraphModule) -> Iterator[Match]:
    shared = tied(module)
    for attention in module.graph.nodes:
        scale = _scale(attention) if is_op(attention, "scaled_dot_product_attention") else 1.0
        if scale == 1.0:
            continue
        factor = torch.full([1] * len(shape(attention)), scale, dtype=torch.float64)
        map_ = affine(factor, torch.zeros_like(factor))
        for side in attention.args[:2]:
            climbed = affine_previous.climb(module, attention, map_, side, shared)
            if climbed is not None:
                yield affine_previous.match_of(attention, climbed)
                break


def _scale(attention: Node) -> float:
    """The scale that is in force."""
    given = arguments(attention)["scale"]
    return shape(attention.args[0])[-1] ** -0.5 if given is None else float(given)  # pyright: ignore


def rewrite(module: GraphModule, match: Match) -> tuple[Node, ...]:
    attention, climbed = match.outputs[-1], match.plan
    assert isinstance(climbed, affine_previous.Climb)
    *beside, value = affine_previous.rewrite(module, match)
    return (*beside, again(module, attention, {climbed.last: value}, scale=1.0))
