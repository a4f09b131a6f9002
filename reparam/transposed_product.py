"""A transposed product of matrices is the product of the transposed: (A·Bᵀ)ᵀ = B·Aᵀ.

A transposition of a factor can be part of the product itself (ONNX Runtime's FusedMatMul, `transpose_x` and
`transpose_y` of Core ML's matmul); one of the outcome cannot, and moves all its numbers. So where a factor is
transposed for this product alone, the transposition of the outcome goes into the factors: of two there is one left, of
three none. Attention that writes its values as a map, (softmax(q·kᵀ)·vᵀ)ᵀ, is of this kind (EfficientFormerV2, arXiv
2212.08059).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.fx import GraphModule, Node

from .graph import arguments, axis_order, call, is_op, module_path, only_user, shape
from .rewrite import Match

NAME = "transposed-product"


def find(module: GraphModule) -> Iterator[Match]:
    for turn in module.graph.nodes:
        if not turns_matrices(turn):
            continue
        product = turn.args[0]
        if not is_op(product, "matmul", "bmm") or only_user(product) is not turn:
            continue
        factors = arguments(product).values()
        if not all(isinstance(factor, Node) and len(shape(factor)) > 1 for factor in factors):
            continue
        gone = {factor for factor in factors if _unturned(factor, product) is not factor}
        if gone:
            yield Match(tuple(sorted((*gone, product, turn))), (turn,), module_path(turn))


def turns_matrices(node: object) -> bool:
    """Whether a call exchanges the last two axes."""
    if not is_op(node, "transpose", "permute", "mT"):
        return False
    assert isinstance(node, Node)
    rank = len(shape(node))
    return axis_order(node) == [*range(rank - 2), rank - 1, rank - 2]


def _unturned(factor: Node, product: Node) -> Node:
    """What the factor is a transposition of, if nobody else reads that transposition; else the factor."""
    alone = turns_matrices(factor) and only_user(factor) is product
    return factor.all_input_nodes[0] if alone else factor


def rewrite(module: GraphModule, match: Match) -> tuple[Node, ...]:
    (turn,) = match.outputs
    (product,) = turn.all_input_nodes
    first, second = arguments(product).values()
    factors = (_turned(module, factor, product) for factor in (second, first))
    return (call(module, product.target, factors, like=product),)


def _turned(module: GraphModule, factor: Node, product: Node) -> Node:
    given = _unturned(factor, product)
    if given is not factor:
        return given
    return call(module, torch.ops.aten.transpose.int, (factor, -2, -1), like=product)
