"""Group norm of one group becomes layer norm over everything but the batch, then a scale and a shift per channel.

Both are (x − μ)/√(σ² + ε) with mean and variance over (C, H, W); only their weights are laid out differently.
Converters have one operation for the layer norm, and turn a group norm into five (ONNX before opset 21) or six to ten
(Core ML). The scale and shift may then go into the next layer. It needs C, H and W to be fixed.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.fx import GraphModule, Node

from .graph import arguments, call, constant, double, is_op, module_path, put, shape
from .rewrite import Match

NAME = "one-group-norm"


def find(module: GraphModule) -> Iterator[Match]:
    for node in module.graph.nodes:
        if not is_op(node, "group_norm") or arguments(node)["num_groups"] != 1:
            continue
        stored = [arguments(node)[name] for name in ("weight", "bias")]
        fixed = all(isinstance(length, int) for length in shape(node)[1:])
        if fixed and all(part is None or constant(module, part) is not None for part in stored):
            yield Match((node,), (node,), module_path(node))


def rewrite(module: GraphModule, match: Match) -> tuple[Node, ...]:
    (norm,) = match.nodes
    given, lengths = arguments(norm), list(shape(norm)[1:])
    result = call(
        module, torch.ops.aten.layer_norm.default, (given["input"], lengths, None, None, given["eps"]), like=norm
    )
    for name, operator in (("weight", torch.ops.aten.mul.Tensor), ("bias", torch.ops.aten.add.Tensor)):
        if given[name] is not None:
            wanted = str(given[name].meta.get("wanted", given[name].target))
            per_channel = double(module, given[name]).view(-1, *[1] * (len(lengths) - 1))
            result = call(module, operator, (result, put(module, wanted, per_channel, like=given[name])), like=norm)
    return (result,)
