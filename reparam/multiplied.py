"""A depthwise convolution that makes several outputs of each channel becomes plain ones.

With m outputs per channel, output m·c + j is channel c under kernel W[m·c + j]. Kernels j, m + j, 2m + j, … are a plain
depthwise convolution; the outcomes of all j, one behind the other, are the same channels in another order, which goes
into the weights of the dense layers behind (`channel_order.py`). There are as many multiplications, but of the kind
that runtimes have kernels for. Where its inputs are no more than its outputs (no stride) they are put m times behind
one another, for one convolution; else there are m.

ONNX Runtime 1.31 takes 0.52 to 0.68 of the time for the 7×7 with stride 2 between the stages of FastViT (arXiv
2303.14189), with the 1×1 behind it, and 0.18 for the last 3×3 (x86-64, one thread).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from .channel_order import Reach, ends, reach, reorder
from .graph import arguments, call, double, is_op, module_path, put, shape, tied, with_arguments
from .into_weights import CONVOLUTIONS, bias_name, why_not_stored
from .rewrite import Match

NAME = "depthwise-multiplier"

MOST = 4
"""Outputs per channel beyond which it is left alone: the more parts, the less there is to gain."""


def find(module: GraphModule) -> Iterator[Match]:
    shared = tied(module)
    for layer in module.graph.nodes:
        if not is_op(layer, *CONVOLUTIONS) or not 1 < _outputs_per_channel(layer) <= MOST:
            continue
        far = reach(module, layer, shared) if why_not_stored(module, layer, shared) is None else None
        if far is not None and far.readers:
            yield Match(far.nodes, ends(far.nodes), module_path(layer), plan=(layer, far))


def _outputs_per_channel(layer: Node) -> int:
    """Of a depthwise convolution of more than one channel, on a batch; 0 for another layer."""
    given = arguments(layer)
    outputs, per_group = shape(given["weight"])[:2]
    batched = len(shape(layer)) == len(shape(given["weight"]))
    return outputs // given["groups"] if per_group == 1 and given["groups"] > 1 and batched else 0


def rewrite(module: GraphModule, match: Match) -> tuple[Node, ...]:
    assert isinstance(match.plan, tuple)
    layer, far = match.plan
    assert isinstance(far, Reach)
    parts = _outputs_per_channel(layer)
    with module.graph.inserting_before(layer):
        value = _repeated(module, layer, parts) if _keeps_size(layer) else _side_by_side(module, layer, parts)
    order = torch.arange(shape(layer)[1]).view(-1, parts).T.flatten()
    made = reorder(module, far, {layer: value}, order)
    return tuple(made[node] for node in match.outputs)


def _keeps_size(layer: Node) -> bool:
    """Whether it has at least as many outputs per kernel as inputs per channel."""
    before, after = (shape(node)[2:] for node in (arguments(layer)["input"], layer))
    if not all(isinstance(length, int) for length in (*before, *after)):
        return set(arguments(layer)["stride"]) == {1}
    return math.prod(before) <= math.prod(after)


def _repeated(module: GraphModule, layer: Node, parts: int) -> Node:
    """One plain depthwise convolution of the input, put `parts` times behind itself."""
    given = arguments(layer)
    value = call(module, torch.ops.aten.cat.default, ([given["input"]] * parts, 1), like=layer)

    def sorted_(stored: Tensor) -> Tensor:
        return torch.cat([stored[place::parts] for place in range(parts)])

    name = _wanted(given["weight"])
    changed = {"weight": put(module, name, sorted_(double(module, given["weight"])), like=given["weight"])}
    if given["bias"] is not None:
        changed["bias"] = put(module, bias_name(name), sorted_(double(module, given["bias"])), like=given["bias"])
    groups = given["groups"] * parts
    return call(module, layer.target, with_arguments(layer, input=value, groups=groups, **changed), like=layer)


def _side_by_side(module: GraphModule, layer: Node, parts: int) -> Node:
    """Plain depthwise convolutions of the input, their outputs one behind the other."""
    made = [_part(module, layer, place, parts) for place in range(parts)]
    return call(module, torch.ops.aten.cat.default, (made, 1), like=layer)


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
