"""A value and its own transposition, read by one operator, kept apart from each other.

coremltools 9.0 cancels transpositions against each other (its pass reduce_transposes). Where an operator still needs
one of those that go, it is put back by replacing, in that operator, every use of the value in front of it. An operator
that reads this value itself as well, as u·uᵀ or u + uᵀ do, gets it transposed twice: an error where the shapes no
longer fit, a wrong result without a word where the matrix is square. So the transposition reads a copy here, which is
another value for that pass: the larger of the value and itself, an operation that no pass takes out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch.export import ExportedProgram
    from torch.fx import Graph, Node

aten = torch.ops.aten

_TURNS = (aten.transpose.int, aten.permute.default, aten.t.default)
_SAME = (aten.clone.default, aten.contiguous.default, aten.alias.default, aten.detach.default)


def keep_apart(program: ExportedProgram) -> None:
    """Give each transposition a copy to read, in place, for every operator that reads what it transposes as well.

    A transposition that is alone in the program is not cancelled, and stays.
    """
    graph = program.graph
    turns = [node for node in graph.nodes if node.target in _TURNS]
    if len(turns) < 2:
        return
    for turn in turns:
        for reader in list(turn.users):
            others = [_origin(read) for read in reader.all_input_nodes if read is not turn]
            if _origin(turn.args[0]) in others:
                reader.replace_input_with(turn, _of_a_copy(graph, turn))
    graph.eliminate_dead_code()
    program.graph_module.recompile()


def _origin(node: Node) -> Node:
    """The value that this one is the same as for coremltools."""
    while node.target in _SAME:
        node = node.all_input_nodes[0]
    return node


def _of_a_copy(graph: Graph, turn: Node) -> Node:
    source = turn.all_input_nodes[0]
    equal = aten.logical_or.default if source.meta["val"].dtype is torch.bool else aten.maximum.default
    with graph.inserting_before(turn):
        copy = graph.call_function(equal, (source, source))
        copy.meta = {**turn.meta, "val": source.meta["val"]}
        return graph.node_copy(turn, lambda read: copy if read is source else read)
