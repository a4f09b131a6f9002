"""Weights that are told apart from values by their names: torch's ONNX exporter calls both by what they are called.

A weight or constant at the top of a model, `self.mul`, has the name that torch also gives to the first product, and
perhaps to an input or an output. In the ONNX graph (torch 2.14) that is one name for two values: its optimizer stops
with "already registered", or a reader of the one gets the other.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir


def name_weights_apart(model: ir.Model, reserved: Collection[str]) -> None:
    """Give each initializer whose name a value has as well, or is to have (`reserved`), a name of its own."""
    graph = model.graph
    taken = {*reserved, *(value.name for value in graph.inputs)}
    taken |= {value.name for node in graph.all_nodes() for value in node.outputs}
    for name, value in list(graph.initializers.items()):
        if name in taken:
            value.name = _free(f"{name}_weight", {*taken, *graph.initializers})


def name_interface(model: ir.Model, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Call the inputs and outputs so; other values that had one of these names get one of their own."""
    graph = model.graph
    made = [value for node in graph.all_nodes() for value in node.outputs]
    taken = {*inputs, *outputs, *graph.initializers, *(value.name for value in made)}
    for value in made:
        if value.name in inputs or value.name in outputs:
            value.name = _free(f"{value.name}_value", taken)
            taken.add(value.name)
    for value, name in zip((*graph.inputs, *graph.outputs), (*inputs, *outputs), strict=True):
        value.name = name


def _free(name: str, taken: Collection[str | None]) -> str:
    while name in taken:
        name += "_"
    return name
