"""Run a graph, or a piece of one, in float64: what a rewrite must leave unchanged."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg
from torch.utils._pytree import tree_leaves

from .graph import arguments, attribute, is_op, shape

_REAL = (torch.float16, torch.bfloat16, torch.float32)

_BY_ELEMENT = ("add", "sub", "mul", "div", "relu", "gelu", "sigmoid")


def run_float64(
    module: GraphModule, inputs: Sequence[Tensor], *, weight: Callable[[Tensor], Tensor] = lambda weight: weight
) -> tuple[Tensor, ...]:
    """All tensor outputs of the graph, every float computed in float64, on what `weight` makes of the weights."""
    output = module.graph.output_node()
    wanted = set(output.all_input_nodes)
    values = {node: value for node, value in steps_float64(module, inputs, weight=weight) if node in wanted}
    values |= {read: _weight(module, read, weight) for read in wanted if read not in values}
    return tuple(leaf for leaf in tree_leaves(map_arg(output.args, values.__getitem__)) if isinstance(leaf, Tensor))


def steps_float64(
    module: GraphModule, inputs: Sequence[Tensor], *, weight: Callable[[Tensor], Tensor] = lambda weight: weight
) -> Iterator[tuple[Node, Any]]:
    """Each input and call of the graph with its value in float64, in their order; nothing is held after its last use.

    A weight is in float64 only while an operator reads it, so the model is not held a second time.
    """
    placeholders = [node for node in module.graph.nodes if node.op == "placeholder"]
    values: dict[Node, Any] = dict(zip(placeholders, map(_double, inputs), strict=True))
    yield from values.items()
    last_reader = {read: node for node in module.graph.nodes for read in node.all_input_nodes}
    for node in module.graph.nodes:
        if node.op != "call_function":
            continue
        read_now = {read: _weight(module, read, weight) for read in node.all_input_nodes if read not in values}
        values[node] = computed(module, node, {**values, **read_now})
        yield node, values[node]
        for read in (node, *node.all_input_nodes):
            if last_reader.get(read, node) is node:
                values.pop(read, None)


def _weight(module: GraphModule, node: Node, weight: Callable[[Tensor], Tensor]) -> Any:
    value = attribute(module, str(node.target))
    return _double(weight(value)) if isinstance(value, Tensor) else value


def run_region(module: GraphModule, values: dict[Node, Any], outputs: Sequence[Node]) -> tuple[Tensor, ...]:
    """`outputs` computed in float64 from `values`, which holds every node that the region reads from outside."""
    values = dict(values)
    for node in _region(outputs, values):
        values[node] = computed(module, node, values)
    return tuple(values[node] for node in outputs)


def computed(module: GraphModule, node: Node, values: Mapping[Node, Any]) -> Any:
    """The node's value, weights read as float64; no operator falls back to a smaller float type."""
    if node.op == "get_attr":
        return _double(attribute(module, str(node.target)))
    assert callable(node.target)
    args = map_arg(node.args, values.__getitem__)
    kwargs = map_arg(node.kwargs, values.__getitem__)
    with torch.no_grad():
        return _double(node.target(*map(_wide, args), **{name: _wide(value) for name, value in kwargs.items()}))


def _wide(argument: Any) -> Any:
    return torch.float64 if isinstance(argument, torch.dtype) and argument in _REAL else argument


def _region(outputs: Sequence[Node], values: Iterable[Node]) -> list[Node]:
    """The nodes between `values` and `outputs`, in an order in which they can run."""
    seen = set(values)
    order: list[Node] = []

    def visit(node: Node) -> None:
        if node in seen:
            return
        seen.add(node)
        for before in node.all_input_nodes:
            visit(before)
        order.append(node)

    for node in outputs:
        visit(node)
    return order


def side_enough(calls: Sequence[Node], inputs: Sequence[Node]) -> int | None:
    """Pixels per side of a picture on which these calls prove as much as on a full one; None where size may matter.

    Convolutions and operators on single elements treat all positions alike: twice the largest kernel shows the middle
    and every border, at a fraction of the time.
    """
    pictures = [node.meta["val"] for node in inputs]
    if not all(isinstance(value, Tensor) and value.dim() == 4 for value in pictures):
        return None
    if len({tuple(map(_traced, value.shape[-2:])) for value in pictures}) != 1:
        return None
    calls = [node for node in calls if node.op == "call_function"]
    if not all(is_op(node, "conv2d") or _treats_positions_alike(node) for node in calls):
        return None
    return 3 + 2 * max((_extent(node) for node in calls if is_op(node, "conv2d")), default=1)


def _extent(convolution: Node) -> int:
    """Pixels from the first to the last tap of the kernel, at most."""
    given = arguments(convolution)
    return max(given["dilation"]) * max(shape(given["weight"])[2:])


def _treats_positions_alike(node: Node) -> bool:
    weights = [read for read in node.all_input_nodes if read.op == "get_attr"]
    flat = all(set(shape(weight)[-2:]) <= {1} for weight in weights)
    return is_op(node, "batch_norm") or (is_op(node, *_BY_ELEMENT) and flat)


def random_values(nodes: Sequence[Node], seed: int, *, side: int | None = None) -> dict[Node, Any]:
    """Seeded values for the nodes that a region reads: normal floats, integers as traced; open dimensions as traced.

    Pictures have at most `side` pixels per side, where it is given.
    """
    generator = torch.Generator().manual_seed(seed)
    return {node: _random(node.meta["val"], generator, side) for node in nodes}


def _random(example: Any, generator: torch.Generator, side: int | None = None) -> Any:
    if isinstance(example, (list, tuple)):
        return type(example)(_random(part, generator) for part in example)
    if not isinstance(example, Tensor):
        return _traced(example)
    size = [_traced(length) for length in example.shape]
    if side is not None:
        size[-2:] = [min(length, side) for length in size[-2:]]
    if example.is_floating_point():
        return torch.randn(size, generator=generator).double()  # five times faster than drawn in float64
    return torch.zeros(size, dtype=example.dtype)


def _traced(size: Any) -> Any:
    """A size as it was in the example; `int()` of an open one would close it for good."""
    return size.node.hint if isinstance(size, torch.SymInt) else size


def relative_error(before: Sequence[Tensor], after: Sequence[Tensor]) -> float:
    """Largest deviation over the largest value, over all pairs; infinite for other shapes or non-finite values."""
    worst = 0.0
    for old, new in zip(before, after, strict=True):
        if old.shape != new.shape:
            return math.inf
        if old.numel():
            scale, deviation = _largest(old), _largest(old - new)  # neither is finite if a value is not
            worst = max(worst, deviation / (scale or 1.0) if math.isfinite(scale + deviation) else math.inf)
    return worst


def _largest(value: Tensor) -> float:
    return float(value.abs().max())


def _double(value: Any) -> Any:
    return value.detach().double() if isinstance(value, Tensor) and value.is_floating_point() else value
