"""Weights that are told apart from values by their names: torch's ONNX exporter calls both by what they are called.

A weight or constant at the top of a model, `self.mul`, has the name that torch also gives to the first product, and
perhaps to an input or an output. In the ONNX graph (torch 2.14) that is one name for two values: its optimizer stops
with "already registered", or a reader of the one gets the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir


def name_weights_apart(model: ir.Model) -> None:
    """Give each initializer whose name another value has as well a name of its own."""
    graph = model.graph
    values = {value.name for node in graph.all_nodes() for value in node.outputs} | {
        value.name for value in graph.inputs
    }
    for name, value in list(graph.initializers.items()):
        if name in values:
            free = f"{name}_weight"
            while free in values or free in graph.initializers:
                free += "_"
            value.name = free
