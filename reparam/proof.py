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

from . import float64_layers
from .graph import is_op, stored
from .window import Window

_REAL = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

_GATES = (
    *("relu", "relu6", "leaky_relu", "prelu", "elu", "selu", "celu", "hardtanh", "hardswish", "hardsigmoid", "clamp"),
    *("gelu", "silu", "mish", "sigmoid", "tanh", "softplus"),
)

_LEAK = 0.25


def run_float64(
    module: GraphModule, inputs: Sequence[Tensor], *, weight: Callable[[Tensor], Tensor] = lambda weight: weight
) -> tuple[Tensor, ...]:
    """All tensor outputs of the graph, every float computed in float64, on what `weight` makes of the weights."""
    output = module.graph.output_node()
    wanted = set(output.all_input_nodes)
    values = {node: value for node, value in steps(module, inputs, weight=weight) if node in wanted}
    values |= {read: _as(torch.float64, _weight(module, read, weight)) for read in wanted if read not in values}
    return tuple(leaf for leaf in tree_leaves(map_arg(output.args, values.__getitem__)) if isinstance(leaf, Tensor))


def steps(
    module: GraphModule,
    inputs: Sequence[Tensor],
    *,
    weight: Callable[[Tensor], Tensor] = lambda weight: weight,
    real: torch.dtype = torch.float64,
) -> Iterator[tuple[Node, Any]]:
    """Each input and call of the graph with its value, in their order; nothing is held after its last use.

    Every float is computed as `real`. A weight is of that type only while an operator reads it, so the model is not
    held a second time.
    """
    placeholders = [node for node in module.graph.nodes if node.op == "placeholder"]
    values: dict[Node, Any] = dict(zip(placeholders, (_as(real, value) for value in inputs), strict=True))
    yield from values.items()
    last_reader = {read: node for node in module.graph.nodes for read in node.all_input_nodes}
    for node in module.graph.nodes:
        if node.op != "call_function":
            continue
        read_now = {read: _weight(module, read, weight) for read in node.all_input_nodes if read not in values}
        values[node] = computed(module, node, {**values, **read_now}, real)
        yield node, values[node]
        for read in (node, *node.all_input_nodes):
            if last_reader.get(read, node) is node:
                values.pop(read, None)


def _weight(module: GraphModule, node: Node, weight: Callable[[Tensor], Tensor] = lambda weight: weight) -> Any:
    value = stored(module, node)
    return weight(value).detach() if isinstance(value, Tensor) else value


def leaks(calls: Iterable[Node]) -> tuple[float, ...]:
    """With which leaks a region of `calls` is judged.

    A gate, be it a ReLU or a GELU, shows nothing of what stands in front of it where it is shut, nor of what reads
    it. A large bias shuts some channels for all values; in squeeze and excitation there is a single position, and
    half are shut. A region with gates is therefore judged a second time with gates that leak, which hide nothing.
    Rewrites move gates, or scale them, but need none shut.
    """
    return (0.0, _LEAK) if any(is_op(node, *_GATES) for node in calls) else (0.0,)


def run_region(
    module: GraphModule, values: Mapping[Node, Any], outputs: Sequence[Node], *, leak: float = 0.0
) -> tuple[Any, ...]:
    """`outputs` computed in float64 from `values`, which holds every node that the region reads from outside.

    A gate returns so much of what it reads as `leak` says, and the rest of what it should; not one of weights alone,
    nor of integers.
    """
    values, moving = dict(values), set(values)
    for node in region(outputs, values):
        values[node] = computed(module, node, values)
        if leak and not moving.isdisjoint(node.all_input_nodes):
            moving.add(node)
            if is_op(node, *_GATES) and (read := node.all_input_nodes[0]) in moving:
                values[node] = _leaking(values[node], values[read], leak)
    return tuple(_as(torch.float64, values[node]) for node in outputs)


def _leaking(value: Tensor, read: Tensor, leak: float) -> Tensor:
    return value.lerp(read.double(), leak) if read.is_floating_point() else value


def computed(module: GraphModule, node: Node, values: Mapping[Node, Any], real: torch.dtype = torch.float64) -> Any:
    """The node's value, all that it reads taken as `real`; no operator falls back to a smaller float type.

    That of a weight is as it is stored.
    """
    if node.op == "get_attr":
        return _weight(module, node)
    assert callable(node.target)
    with torch.no_grad():
        if real == torch.float64 and float64_layers.is_taken(node):
            given: Any = map_arg(node.args, values.__getitem__)
            return float64_layers.run(node.target, *given)
        args, kwargs = map_arg((node.args, node.kwargs), lambda read: _as(real, values[read]))
        args, kwargs = [_wide(value, real) for value in args], {name: _wide(kwargs[name], real) for name in kwargs}
        return _as(real, node.target(*args, **kwargs))


def _wide(argument: Any, real: torch.dtype) -> Any:
    return real if isinstance(argument, torch.dtype) and argument in _REAL else argument


def region(outputs: Sequence[Node], values: Iterable[Node]) -> list[Node]:
    """The nodes between `values` and `outputs`, in an order in which they can run."""
    given, found = set(values), set[Node]()
    waiting = list(outputs)
    while waiting:
        node = waiting.pop()
        if node not in given and node not in found:
            found.add(node)
            waiting += node.all_input_nodes
    return sorted(found)


def random_values(nodes: Sequence[Node], seed: int, *, window: Window | None = None) -> dict[Node, Any]:
    """Seeded values for the nodes that a region reads: normal floats, integers as traced; open dimensions as traced.

    Where a window is given, there is as much of each as it takes.
    """
    generator = torch.Generator().manual_seed(seed)
    return {node: _random(node.meta["val"], generator, window) for node in nodes}


def _random(example: Any, generator: torch.Generator, window: Window | None = None) -> Any:
    if isinstance(example, (list, tuple)):
        return type(example)(_random(part, generator) for part in example)
    if not isinstance(example, Tensor):
        return _traced(example)
    size = tuple(_traced(length) for length in example.shape)
    if window is not None:
        size = window.shape(size)
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
    least, most = torch.aminmax(value)
    return max(-float(least), float(most))


def _as(real: torch.dtype, value: Any) -> Any:
    return value.to(real) if isinstance(value, Tensor) and value.is_floating_point() else value
