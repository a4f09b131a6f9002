"""Run a graph, or a piece of one, in float64: what a rewrite must leave unchanged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node
from torch.utils._pytree import tree_leaves, tree_map_only

_REAL = (torch.float16, torch.bfloat16, torch.float32)


class Float64(Interpreter):
    """Interpreter whose weights are read as float64 and whose operators never fall back to a smaller float type."""

    def fetch_attr(self, target: str) -> Any:
        value = super().fetch_attr(target)
        return value.detach().double() if isinstance(value, Tensor) and value.is_floating_point() else value

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        args, kwargs = tree_map_only(torch.dtype, _wide, (args, kwargs))
        return super().call_function(target, args, kwargs)


def _wide(kind: torch.dtype) -> torch.dtype:
    return torch.float64 if kind in _REAL else kind


def run_float64(module: GraphModule, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """All tensor outputs of the graph, every float computed in float64."""
    with torch.no_grad():
        result = Float64(module).run(*(_double(value) for value in inputs))
    return tuple(leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor))


def run_region(module: GraphModule, values: dict[Node, Any], outputs: Sequence[Node]) -> tuple[Tensor, ...]:
    """`outputs` computed in float64 from `values`, which holds every node that the region reads from outside."""
    interpreter = Float64(module, garbage_collect_values=False)
    interpreter.env.update(values)
    with torch.no_grad():
        for node in _region(outputs, values):
            interpreter.env[node] = interpreter.run_node(node)
    return tuple(interpreter.env[node] for node in outputs)


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


def random_values(nodes: Sequence[Node], seed: int) -> dict[Node, Any]:
    """Seeded values for the nodes that a region reads: normal floats, integers as traced; open dimensions as traced."""
    generator = torch.Generator().manual_seed(seed)
    return {node: _random(node.meta["val"], generator) for node in nodes}


def _random(example: Any, generator: torch.Generator) -> Any:
    if isinstance(example, (list, tuple)):
        return type(example)(_random(part, generator) for part in example)
    if not isinstance(example, Tensor):
        return _traced(example)
    size = [_traced(length) for length in example.shape]
    if example.is_floating_point():
        return torch.randn(size, generator=generator, dtype=torch.float64)
    return torch.zeros(size, dtype=example.dtype)


def _traced(size: Any) -> Any:
    """A size as it was in the example; `int()` of an open one would close it for good."""
    return size.node.hint if isinstance(size, torch.SymInt) else size


def relative_error(before: Sequence[Tensor], after: Sequence[Tensor]) -> float:
    """Largest deviation over the largest value, over all pairs; infinite for other shapes or non-finite values."""
    worst = 0.0
    for old, new in zip(before, after, strict=True):
        if old.shape != new.shape or not (torch.isfinite(old).all() and torch.isfinite(new).all()):
            return float("inf")
        if old.numel():
            scale = float(old.abs().max())
            worst = max(worst, float((old - new).abs().max()) / (scale or 1.0))
    return worst


def _double(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value
