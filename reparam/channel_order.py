"""Another order of a value's channels, taken up by the weights of all that has to do with them.

A permutation P of the channels of x passes what treats every channel alike, f(P·x) = P·f(x): functions of single
elements and means over positions. A dense layer that reads P·x has its inputs in that order, W·Pᵀ; one whose outputs
are multiplied with P·x or added to it gives them in that order, P·W. A squeeze and excitation (arXiv 1709.01507),
x·σ(W₂·ρ(W₁·mean x)), is made of these; what is between its two layers stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.fx import GraphModule, Node

from .graph import again, arguments, double, is_op, only_user, put, shape
from .into_weights import CONVOLUTIONS, bias_name, why_not_stored

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


@dataclass(frozen=True)
class Reach:
    """How far another order goes: `nodes` (in the order of the graph) are computed anew, from the value on.

    Of those, `readers` get the inputs of their weights in that order, `makers` their outputs.
    """

    nodes: tuple[Node, ...]
    readers: frozenset[Node]
    makers: frozenset[Node]


def reach(module: GraphModule, value: Node, shared: set[str]) -> Reach | None:
    """Where an order of the channels (axis 1) of `value` is taken up; None where something else would see it."""
    carried, readers, makers = {value}, set[Node](), set[Node]()
    for node in module.graph.nodes:
        if not carried.intersection(node.all_input_nodes):
            continue
        if _reads_all(module, node, carried, shared):
            readers.add(node)
        elif is_op(node, *_UNARY) or _averages_positions(node):
            carried.add(node)
        elif is_op(node, "mul", "add"):
            for other in set(_factors(node)) - carried:
                way = _way_to_layer(module, other, node, shared)
                if way is None:
                    return None
                carried.update(way[1:])
                makers.add(way[0])
            carried.add(node)
        else:
            return None
    return Reach(_between(module, carried | readers | makers), frozenset(readers), frozenset(makers))


def _reads_all(module: GraphModule, layer: Node, carried: set[Node], shared: set[str]) -> bool:
    """Whether every output of the layer reads every channel, as its inputs alone."""
    return (
        _is_dense(layer)
        and layer.args[0] in carried
        and len(carried.intersection(layer.all_input_nodes)) == 1
        and why_not_stored(module, layer, shared) is None
    )


def _is_dense(node: Node) -> bool:
    if is_op(node, "linear"):
        return len(shape(node)) == 2
    if not is_op(node, *CONVOLUTIONS):
        return False
    given = arguments(node)
    return given["groups"] == 1 and len(shape(node)) == len(shape(given["weight"]))


def _averages_positions(node: Node) -> bool:
    if not is_op(node, "mean"):
        return False
    rank = len(shape(node.all_input_nodes[0]))
    return bool(arguments(node).get("dim")) and all(axis % rank > 1 for axis in arguments(node)["dim"])


def _factors(node: Node) -> list[Node]:
    """The operands that have channels of their own; a number has none."""
    return [operand for operand in node.args if isinstance(operand, Node)]


def _way_to_layer(module: GraphModule, other: Node, product: Node, shared: set[str]) -> list[Node] | None:
    """From a dense layer to its outputs as `product` reads them, nobody else on the way; None where there is none."""
    way, reader = [other], product
    while is_op(way[0], *_UNARY) and only_user(way[0]) is reader:
        reader = way[0]
        way.insert(0, reader.all_input_nodes[0])
    layer = way[0]
    alone = only_user(layer) is reader and len(shape(layer)) == len(shape(product))
    if not alone or not _is_dense(layer) or shape(layer)[1] != shape(product)[1]:
        return None
    return way if why_not_stored(module, layer, shared) is None else None


def _between(module: GraphModule, touched: set[Node]) -> tuple[Node, ...]:
    """These, and what stands on a way from one of them to another."""
    nodes = list(module.graph.nodes)
    behind, before = set(touched), set(touched)
    for node in nodes:
        if behind.intersection(node.all_input_nodes):
            behind.add(node)
    for node in reversed(nodes):
        if before.intersection(node.users):
            before.add(node)
    return tuple(node for node in nodes if node in behind & before)


def reorder(module: GraphModule, far: Reach, made: Mapping[Node, Node], order: Tensor) -> dict[Node, Node]:
    """What stands for each node, given what stands for the value: its channel i is the old channel `order[i]`."""
    made = dict(made)
    for node in far.nodes:
        if node in made:
            continue
        changed: dict[str, Any] = {}
        if node in far.readers or node in far.makers:
            changed = _reordered(module, node, order, inputs=node in far.readers, outputs=node in far.makers)
        made[node] = again(module, node, made, **changed)
    return made


def _reordered(module: GraphModule, layer: Node, order: Tensor, *, inputs: bool, outputs: bool) -> dict[str, Node]:
    given = arguments(layer)
    weight, bias = double(module, given["weight"]), given["bias"]
    if inputs:
        weight = weight[:, order]
    if outputs:
        weight = weight[order]
    name = str(given["weight"].meta.get("wanted", given["weight"].target))
    with module.graph.inserting_before(layer):
        changed = {"weight": put(module, name, weight, like=given["weight"])}
        if outputs and bias is not None:
            changed["bias"] = put(module, bias_name(name), double(module, bias)[order], like=bias)
    return changed


def ends(nodes: Iterable[Node]) -> tuple[Node, ...]:
    """Those that others read."""
    inside = set(nodes)
    return tuple(node for node in nodes if not inside.issuperset(node.users))
