"""Which module an operator of ONNX Runtime's optimised graph came from.

The optimiser merges nodes and names the result after its last output: a convolution that took in the ReLU behind it has
the type of the one and the name of the other. It is traced back, from the node that makes that output in the file, to
the nearest node of the operator's own type; where there is none, the node itself counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..saved.modules import modules_of_onnx, nodes_in

DEPTH = 4
"""So many nodes are merged into one at most: convolution, batch norm, addition, activation."""


@dataclass(frozen=True)
class Origins:
    """`makers`: name of a node or of an output → the node; `modules`: the same names → module path."""

    makers: dict[str, Any]
    modules: dict[str, str]

    def module_of(self, names: Iterable[str], kind: str) -> str | None:
        """The module of an operator of type `kind` that goes by one of these names; None where nothing tells."""
        maker = next((self.makers[name] for name in names if name in self.makers), None)
        if maker is None:
            return None
        own = kind.removeprefix("Fused")
        origin = next((node for node in self._back_from(maker) if node.op_type == own), maker)
        return next((self.modules[name] for name in (origin.name, *origin.output) if name in self.modules), None)

    def _back_from(self, node: Any) -> Iterator[Any]:
        """The node and those before it, the nearest first."""
        ring = [node]
        for _ in range(DEPTH):
            yield from ring
            before = [self.makers[name] for node in ring for name in node.input if name in self.makers]
            ring = list({id(node): node for node in before}.values())


def origins_in(path: Path) -> Origins:
    """The graph of a file and what its nodes say of their modules, which may be nothing."""
    nodes = nodes_in(path)
    makers = {name: node for node in nodes for name in (node.name, *node.output) if name}
    return Origins(makers, modules_of_onnx(nodes))
