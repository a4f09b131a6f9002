"""What each operator of a captured graph costs: multiply-accumulates, weights, and bytes read and written.

Exact, from shapes; nothing is run, so the graph may lie on the meta device. Activations are counted once per operator
that reads them and once where they are written: the traffic of an engine that fuses nothing. Views (reshapes, slices,
transpositions) move nothing. An open batch counts as one picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from .cost import dims_of, macs_of
from .graph import constant, is_op, module_path, operator_name

VIEWS = (
    *("view", "reshape", "_unsafe_view", "flatten", "unflatten", "alias", "detach", "contiguous", "dropout"),
    *("permute", "transpose", "t", "numpy_T", "movedim", "unsqueeze", "squeeze", "expand", "expand_as", "broadcast_to"),
    *("slice", "select", "narrow", "split", "split_with_sizes", "chunk", "tensor_split", "unbind", "diagonal"),
)


@dataclass(frozen=True)
class LayerCost:
    """One operator. `module` is the path of the module it came from, "" for the model itself.

    `parameters` and `weight_bytes` are those of the constants that it is the first to read (parameters are trainable,
    weights all of them), `read_bytes` and `written_bytes` those of activations.
    """

    name: str
    operator: str
    module: str
    macs: int
    parameters: int
    weight_bytes: int
    read_bytes: int
    written_bytes: int


def layers(module: GraphModule) -> tuple[LayerCost, ...]:
    """Every operator of a graph from `capture` or `fold`, in the order of execution; getitem is none."""
    seen: set[int] = set()
    return tuple(
        _layer(module, node, seen)
        for node in module.graph.nodes
        if node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload)
    )


def _layer(module: GraphModule, node: Node, seen: set[int]) -> LayerCost:
    """`seen` has the identities of the constants that were counted before, and gets those of this operator."""
    constants = {id(value): value for read in node.all_input_nodes if (value := constant(module, read)) is not None}
    fresh = [value for key, value in constants.items() if key not in seen]
    seen.update(constants)
    moves = not is_op(node, *VIEWS)
    activations = [read for read in node.all_input_nodes if constant(module, read) is None]
    return LayerCost(
        name=node.name,
        operator=operator_name(node),
        module=module_path(node),
        macs=sum(amount for _, amount in macs_of(node)),
        parameters=sum(value.numel() for value in fresh if isinstance(value, nn.Parameter)),
        weight_bytes=sum(value.numel() * value.element_size() for value in fresh),
        read_bytes=sum(map(_bytes, activations)) if moves else 0,
        written_bytes=_bytes(node) if moves else 0,
    )


def _bytes(node: Node) -> int:
    """Size of a node's value, or of its values together, in bytes."""
    value = node.meta.get("val")
    values = value if isinstance(value, (list, tuple)) else [value]
    return sum(math.prod(dims_of(one)) * one.element_size() for one in values if isinstance(one, Tensor))
