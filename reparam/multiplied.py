"""A depthwise convolution that makes several outputs of each channel becomes as many plain ones, side by side.

With m outputs per channel, output m·c + j is channel c under kernel W[m·c + j]. Kernels j, m + j, 2m + j, … are a plain
depthwise convolution; the outcomes of all j, one behind the other, are the same channels in another order, which goes
into the weights of the dense convolution that follows. There are as many multiplications in m more operators, but of
the kind that runtimes have kernels for: ONNX Runtime 1.31 takes 0.52 to 0.68 of the time for the 7×7 with stride 2
between the stages of FastViT (arXiv 2303.14189), with the 1×1 behind it (x86-64, one thread).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from .graph import arguments, call, double, is_op, module_path, only_user, put, shape, tied, with_arguments
from .into_weights import CONVOLUTIONS, bias_name, why_not_stored
from .rewrite import Match

NAME = "depthwise-multiplier"

MOST = 4
"""Outputs per channel beyond which it is left alone: the more parts, the less there is to gain."""

_UNARY = (
    "relu",
    "relu6",
    "gelu",
    "silu",
    "sigmoid",
    "tanh",
    "hardswish",
    "hardsigmoid",
    "hardtanh",
    "elu",
    "leaky_relu",
)


def find(module: GraphModule) -> Iterator[Match]:
    shared = tied(module)
    for layer in module.graph.nodes:
        if not is_op(layer, *CONVOLUTIONS) or not 1 < _outputs_per_channel(layer) <= MOST:
            continue
        way = [layer]
        while (reader := only_user(way[-1])) is not None and is_op(reader, *_UNARY):
            way.append(reader)
        if reader is None or not _is_dense_on(reader, way[-1]):
            continue
        if why_not_stored(module, layer, shared) is None and why_not_stored(module, reader, shared) is None:
            yield Match((*way, reader), (reader,), module_path(layer))


def _outputs_per_channel(layer: Node) -> int:
    """Of a depthwise convolution of more than one channel; 0 for another layer."""
    given = arguments(layer)
    outputs, per_group = shape(given["weight"])[:2]
    return outputs // given["groups"] if per_group == 1 and given["groups"] > 1 else 0


def _is_dense_on(reader: Node, value: Node) -> bool:
    if not is_op(reader, *CONVOLUTIONS) or arguments(reader)["groups"] != 1:
        return False
    return reader.args[0] is value and reader.all_input_nodes.count(value) == 1


def rewrite(module: GraphModule, match: Match) -> tuple[Node, ...]:
    layer, *unary, reader = match.nodes
    parts = _outputs_per_channel(layer)
    made = [_part(module, layer, place, parts) for place in range(parts)]
    value = call(module, torch.ops.aten.cat.default, (made, 1), like=layer)
    for node in unary:
        given = node.kwargs
        value = call(module, node.target, (value, *node.args[1:]), like=node)
        value.kwargs = dict(given)
    weight = arguments(reader)["weight"]
    order = torch.arange(shape(weight)[1]).view(-1, parts).T.flatten()
    reordered = put(module, _wanted(weight), double(module, weight)[:, order], like=weight)
    return (call(module, reader.target, with_arguments(reader, input=value, weight=reordered), like=reader),)


def _part(module: GraphModule, layer: Node, place: int, parts: int) -> Node:
    """The plain depthwise convolution of every `parts`-th kernel, from this place on."""
    given = arguments(layer)
    name = f"{_wanted(given['weight']).removesuffix('weight')}{place}.weight"

    def taken(node: Node) -> Tensor:
        return double(module, node)[place::parts]

    changed = {"weight": put(module, name, taken(given["weight"]), like=given["weight"])}
    if given["bias"] is not None:
        changed["bias"] = put(module, bias_name(name), taken(given["bias"]), like=given["bias"])
    return call(module, layer.target, with_arguments(layer, **changed), like=layer)


def _wanted(node: Node) -> str:
    return str(node.meta.get("wanted", node.target))
