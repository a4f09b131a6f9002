"""What a captured graph costs: parameters, multiply-accumulates, operator calls. Exact, from shapes, nothing is run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from .graph import arguments, constant, is_op, operator_name

_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d", "convolution")
_TRANSPOSED = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
_PRODUCTS = ("matmul", "mm", "bmm", "mv", "dot")
_NORMS = ("batch_norm", "_native_batch_norm_legit_no_training", "native_batch_norm")


@dataclass(frozen=True)
class Cost:
    """Counts of one graph, for one picture where the batch is open.

    `macs` has the multiply-accumulates of convolutions, linears and matrix products (no bias, norm, activation).
    """

    parameters: int
    parameter_bytes: int
    macs: dict[str, int]
    operators: dict[str, int]
    batch_norms: int

    @property
    def total_macs(self) -> int:
        return sum(self.macs.values())

    @property
    def nodes(self) -> int:
        return sum(self.operators.values())


def count(module: GraphModule) -> Cost:
    """The cost of a graph from `capture` or `fold`, at the shapes it was captured with."""
    macs = {"conv": 0, "linear": 0, "matmul": 0}
    operators: Counter[str] = Counter()
    for node in module.graph.nodes:
        if node.op == "call_function":
            operators[operator_name(node)] += 1
            for kind, amount in macs_of(node):
                macs[kind] += amount
    weights = {id(value): value for value in _weights(module)}.values()
    return Cost(
        parameters=sum(value.numel() for value in weights),
        parameter_bytes=sum(value.numel() * value.element_size() for value in weights),
        macs=macs,
        operators=dict(sorted(operators.items())),
        batch_norms=sum(operators[name] for name in _NORMS),
    )


def _weights(module: GraphModule) -> list[nn.Parameter]:
    values = (constant(module, node) for node in module.graph.nodes if node.users)
    return [value for value in values if isinstance(value, nn.Parameter)]


def macs_of(node: Node) -> list[tuple[str, int]]:
    """(kind, multiply-accumulates) of one operator call; empty for one that does none."""
    if is_op(node, *_CONVOLUTIONS, *_TRANSPOSED):
        return [("conv", _convolution(node))]
    if is_op(node, "linear"):
        given = arguments(node)
        return [("linear", _size(node) * dims(given["weight"])[-1])]
    if is_op(node, "addmm", "baddbmm"):
        kind = "linear" if is_op(node, "addmm") else "matmul"
        return [(kind, _size(node) * dims(node.args[1])[-1])]
    if is_op(node, *_PRODUCTS):
        return [("matmul", _size(node) * dims(node.args[0])[-1])]
    if is_op(node, "scaled_dot_product_attention"):
        query, key, value = (dims(part) for part in node.args[:3])
        return [("matmul", math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1]))]
    if is_op(node, "einsum"):
        return [("matmul", _einsum(node))]
    return []


def _convolution(node: Node) -> int:
    """Output elements × kernel for a convolution, input elements × kernel for a transposed one."""
    given = arguments(node)
    weight = dims(given["weight"])
    transposed = is_op(node, *_TRANSPOSED) or bool(given.get("transposed"))
    elements = math.prod(dims(given["input"])) if transposed else _size(node)
    return elements * math.prod(weight[1:])


def _einsum(node: Node) -> int:
    equation, operands = node.args[0], node.args[1]
    assert isinstance(equation, str)
    assert isinstance(operands, (list, tuple))
    return product_of_labels(equation, [dims(operand) for operand in operands])


def product_of_labels(equation: str, shapes: Sequence[Sequence[int]]) -> int:
    """The multiply-accumulates of an einsum: the product of the sizes of all its labels, as if done in one loop."""
    sizes: dict[str, int] = {}
    for labels, shape in zip(equation.replace(" ", "").split("->")[0].split(","), shapes, strict=True):
        sizes |= dict(zip(labels, shape, strict=True))
    return math.prod(sizes.values())


def _size(node: Node) -> int:
    return math.prod(dims(node))


def dims(node: Any) -> list[int]:
    """Shape of a node's value, with an open batch taken as one."""
    value = node.meta["val"]
    assert isinstance(value, Tensor)
    return dims_of(value)


def dims_of(value: Tensor) -> list[int]:
    """Shape of a tensor, with an open batch taken as one."""
    return [_for_one_picture(length) for length in value.shape]


def _for_one_picture(length: int | torch.SymInt) -> int:
    if not isinstance(length, torch.SymInt):
        return length
    expression = length.node.expr
    return int(str(expression.subs(dict.fromkeys(expression.free_symbols, 1))))
