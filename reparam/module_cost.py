"""Where a captured graph's cost lies: parameters, multiply-accumulates and operator calls of each PyTorch module.

The sums over the modules are exactly the counts of `cost.py`: nothing is left out, and nothing counted twice.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torch.fx import GraphModule, Node

from .cost import macs_of
from .graph import constant, module_path


@dataclass(frozen=True)
class ModuleCost:
    """What one module does itself, its submodules left out. The graph's own operators have the path ""."""

    path: str
    parameters: int
    macs: int
    """For one picture, as in `Cost.macs`."""
    operators: int


def by_module(module: GraphModule) -> tuple[ModuleCost, ...]:
    """The cost of each module of a graph from `capture` or `fold`, in the order in which they are first called.

    A parameter belongs to the module that reads it first, so that one with several readers is counted once.
    """
    costs: dict[str, list[int]] = {}
    seen: set[int] = set()
    for node in module.graph.nodes:
        if node.op != "call_function":
            continue
        cost = costs.setdefault(module_path(node), [0, 0, 0])
        for parameter in _parameters(module, node):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                cost[0] += parameter.numel()
        cost[1] += sum(amount for _, amount in macs_of(node))
        cost[2] += 1
    return tuple(ModuleCost(path, *cost) for path, cost in costs.items())


def _parameters(module: GraphModule, node: Node) -> list[nn.Parameter]:
    values = (constant(module, source) for source in node.all_input_nodes)
    return [value for value in values if isinstance(value, nn.Parameter)]
