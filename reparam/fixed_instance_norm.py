"""Instance norm with stored statistics becomes batch norm, which it is: (x − μ)/√(σ² + ε) with one μ and σ per channel.

At inference `InstanceNorm2d(track_running_stats=True)` takes none of the picture's own statistics (`use_input_stats` is
false). Written as batch norm it folds like one; coremltools 9.0 converts it as if it took the picture's own.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.fx import GraphModule, Node

from .graph import arguments, call, is_op, module_path
from .rewrite import Match

NAME = "fixed-instance-norm"


def find(module: GraphModule) -> Iterator[Match]:
    for node in module.graph.nodes:
        if is_op(node, "instance_norm") and not arguments(node)["use_input_stats"]:
            yield Match((node,), (node,), module_path(node))


def rewrite(module: GraphModule, match: Match) -> tuple[Node, ...]:
    (norm,) = match.nodes
    given = arguments(norm)
    read = [given[name] for name in ("input", "weight", "bias", "running_mean", "running_var")]
    args = (*read, False, given["momentum"], given["eps"], False)
    return (call(module, torch.ops.aten.batch_norm.default, args, like=norm),)
