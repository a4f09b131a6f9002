"""A matrix product with a stored matrix is a linear layer: x·M = linear(x, Mᵀ).

Other rules know a linear layer: constants behind it and in front of it go into its weight, a sum becomes its bias.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.fx import GraphModule, Node

from .graph import call, constant, double, dtype, is_op, module_path, put, shape, tied
from .rewrite import Match

NAME = "matmul-linear"


def find(module: GraphModule) -> Iterator[Match]:
    shared = tied(module)
    for node in module.graph.nodes:
        if not is_op(node, "matmul", "mm"):
            continue
        value, matrix = node.args
        stored = constant(module, matrix)
        if stored is None or stored.dim() != 2 or str(matrix.target) in shared:
            continue
        if (
            isinstance(value, Node)
            and value.op != "get_attr"
            and len(shape(value)) > 1
            and dtype(value) == dtype(matrix)
        ):
            yield Match((node,), (node,), module_path(node))


def rewrite(module: GraphModule, match: Match) -> tuple[Node, ...]:
    (product,) = match.nodes
    value, matrix = product.args
    assert isinstance(matrix, Node)
    name = str(matrix.meta.get("wanted", matrix.target))
    weight = put(module, name, double(module, matrix).T, like=matrix)
    return (call(module, torch.ops.aten.linear.default, (value, weight), like=product),)
