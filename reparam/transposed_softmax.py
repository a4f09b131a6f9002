"""A softmax that is transposed is the softmax of the transposed scores, over the other axis.

softmax(Aᵀ·B, over the last axis)ᵀ = softmax(Bᵀ·A, over the one before it), for (M·N)ᵀ = Nᵀ·Mᵀ. With one of the factors
transposed there are two transpositions in the first form and one in the second; with both, three and none. Attention in
which the values come first, v·softmax(qᵀ·k)ᵀ, is of this kind (SHViT, EfficientViT).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.fx import GraphModule, Node

from .graph import arguments, call, is_op, module_path, only_user, shape
from .rewrite import Match
from .transposed_product import turns_matrices

NAME = "transposed-softmax"


@dataclass(frozen=True)
class _Factor:
    """A factor of the scores, and what it is a transposition of, if nobody else reads that transposition."""

    node: Node
    turned: Node | None


def find(module: GraphModule) -> Iterator[Match]:
    for turn in module.graph.nodes:
        if not turns_matrices(turn):
            continue
        (softmax,) = turn.all_input_nodes
        if not is_op(softmax, "softmax") or not _is_over_last(softmax) or only_user(softmax) is not turn:
            continue
        (scores,) = softmax.all_input_nodes
        if not is_op(scores, "matmul", "bmm") or only_user(scores) is not softmax:
            continue
        factors = tuple(_factor(factor, scores) for factor in scores.all_input_nodes)
        if len(factors) == 2 and any(factor.turned for factor in factors):
            gone = [factor.node for factor in factors if factor.turned]
            yield Match(tuple(sorted((*gone, scores, softmax, turn))), (turn,), module_path(turn), plan=factors)


def _is_over_last(softmax: Node) -> bool:
    given, rank = arguments(softmax), len(shape(softmax))
    return given["dim"] % rank == rank - 1 and given.get("dtype") is None


def _factor(factor: Node, scores: Node) -> _Factor:
    turned = factor.args[0] if turns_matrices(factor) and only_user(factor) is scores else None
    return _Factor(factor, turned if isinstance(turned, Node) else None)


def rewrite(module: GraphModule, match: Match) -> tuple[Node, ...]:
    turn = match.outputs[0]
    (softmax,) = turn.all_input_nodes
    (scores,) = softmax.all_input_nodes
    assert isinstance(match.plan, tuple)
    first, second = (_transposed(module, factor, scores) for factor in reversed(match.plan))
    product = call(module, scores.target, (first, second), like=scores)
    return (call(module, torch.ops.aten.softmax.int, (product, len(shape(turn)) - 2), like=softmax),)


def _transposed(module: GraphModule, factor: _Factor, scores: Node) -> Node:
    if factor.turned is not None:
        return factor.turned
    return call(module, torch.ops.aten.transpose.int, (factor.node, -2, -1), like=scores)
