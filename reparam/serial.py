"""Two convolutions or linear layers in a row, with nothing between them, become one where that costs no more.

W₂∗(W₁∗x + b₁) + b₂ = (W₂W₁)∗x + (W₂b₁ + b₂), the product taken over the channels between, if one kernel is one tap:

- first a 1×1 without stride or padding, then any kernel. Where the second reads zero padding it must not find b₁ there:
  b₁ has to be zero;
- first any kernel, then a 1×1 without stride or padding.

One dense layer may be larger than two thin ones: neither the multiplications nor the weights may grow.

Where others read the first layer as well it stays, and the second passes it by, W₂W₁ on x, if that is a smaller layer
than W₂ is: behind a layer that widens, as where RepViT (arXiv 2307.09283) goes to the next resolution.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from .graph import (
    again,
    arguments,
    call,
    double,
    is_op,
    module_path,
    only_user,
    operator_name,
    put,
    shape,
    tied,
    with_arguments,
)
from .into_weights import CONVOLUTIONS, bias_name, reads_padding, why_not_stored
from .rewrite import Match

NAME = "serial"


def find(module: GraphModule) -> Iterator[Match]:
    shared = tied(module)
    for second in module.graph.nodes:
        first = second.args[0] if _is_dense(second) else None
        if not isinstance(first, Node) or not _is_dense(first) or operator_name(first) != operator_name(second):
            continue
        if second.all_input_nodes.count(first) != 1:
            continue
        alone = only_user(first) is second
        stored = why_not_stored(module, first, shared) is None and why_not_stored(module, second, shared) is None
        costs = _costs_no_more(first, second) if alone else _costs_less_than(first, second)
        if stored and costs and _is_exact(module, first, second):
            yield Match((first, second), (second,) if alone else (first, second), module_path(second))


def _is_dense(node: Node) -> bool:
    return is_op(node, "linear") or (is_op(node, *CONVOLUTIONS) and arguments(node)["groups"] == 1)


def _is_exact(module: GraphModule, first: Node, second: Node) -> bool:
    if is_op(second, "linear") or _is_pointwise(second):
        return True
    bias = arguments(first)["bias"]
    constant_in = bias is not None and bool(double(module, bias).any())
    return _is_pointwise(first) and not (constant_in and reads_padding(second))


def _is_pointwise(layer: Node) -> bool:
    given = arguments(layer)
    one_tap = set(shape(given["weight"])[2:]) == {1}
    return one_tap and not reads_padding(layer) and set(given["stride"]) == {1}


def _costs_no_more(first: Node, second: Node) -> bool:
    """Whether weights and multiplications stay or shrink, at the positions that each layer writes."""
    one, two = shape(arguments(first)["weight"]), shape(arguments(second)["weight"])
    merged = two[0] * one[1] * math.prod(one[2:]) * math.prod(two[2:])
    if merged > math.prod(one) + math.prod(two):
        return False
    if is_op(second, "linear"):
        return True
    places = [shape(layer)[-len(one[2:]) :] for layer in (first, second)]
    if not all(isinstance(length, int) for lengths in places for length in lengths):
        return False
    before, after = (math.prod(lengths) for lengths in places)
    return merged * after <= math.prod(one) * before + math.prod(two) * after


def _costs_less_than(first: Node, second: Node) -> bool:
    """Whether both in one have fewer weights than the second alone, and so fewer multiplications where it writes."""
    one, two = shape(arguments(first)["weight"]), shape(arguments(second)["weight"])
    return one[1] * math.prod(one[2:]) < two[1]


def rewrite(module: GraphModule, match: Match) -> tuple[Node, ...]:
    first, second = match.nodes
    merged = _merged(module, first, second)
    return (merged,) if match.outputs == (second,) else (again(module, first), merged)


def _merged(module: GraphModule, first: Node, second: Node) -> Node:
    inner, outer = arguments(first), arguments(second)
    weight, bias = _product(*(_weight_and_bias(module, layer) for layer in (first, second)))
    like = outer["weight"]
    name = str(like.meta.get("wanted", like.target))
    changed: dict[str, Any] = {"input": inner["input"], "weight": put(module, name, weight, like=like)}
    given = inner["bias"] is not None or outer["bias"] is not None
    changed["bias"] = put(module, bias_name(name), bias, like=like) if given else None
    kernel_of = first if is_op(second, *CONVOLUTIONS) and _is_pointwise(second) else second
    return call(module, kernel_of.target, with_arguments(kernel_of, **changed), like=second)


def _weight_and_bias(module: GraphModule, layer: Node) -> tuple[Tensor, Tensor]:
    given = arguments(layer)
    weight = double(module, given["weight"])
    return weight, weight.new_zeros(len(weight)) if given["bias"] is None else double(module, given["bias"])


def _product(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """(W₂W₁, W₂b₁ + b₂); one of the kernels is a single tap."""
    (one, b1), (two, b2) = first, second
    taps = one.shape[2:] if math.prod(two.shape[2:]) == 1 else two.shape[2:]
    one, two = (weight.flatten(2) if weight.dim() > 2 else weight[..., None] for weight in (one, two))
    weight = torch.einsum("omk,mil->oikl", two, one).reshape(len(two), one.shape[1], *taps)
    return weight, torch.einsum("omk,m->o", two, b1) + b2
