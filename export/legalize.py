"""Rewrite what coremltools 9.0 would convert without a word, and wrongly."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.export import ExportedProgram
    from torch.fx import Node


def legalize(program: ExportedProgram) -> ExportedProgram:
    """The same function in operators that coremltools converts right; `program` stays as it is."""
    return program.run_decompositions({})


def module_of(node: Node, program: ExportedProgram) -> str:
    """The path of the module that a node came from; where no module call is noted, that of the weight it reads."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    if stack and stack[-1][0]:
        return stack[-1][0]
    owners = {**program.graph_signature.inputs_to_parameters, **program.graph_signature.inputs_to_buffers}
    return next((owners[read.name].rpartition(".")[0] for read in node.all_input_nodes if read.name in owners), "")
