"""A per-channel affine map goes into the layer before it.

The map is a batch norm, a layer scale, an attention scale, a constant that is added: `affine.py`. The layer is a
convolution, a linear layer or a norm with a weight: `into_weights.py`. Between them may lie what lets the map pass
(`passage.py`), as long as nobody else reads a value on the way. One part of a split value may be mapped alone: the
layer then takes in the identity for the others. So softmax(k·(s·q)) comes to scale the rows of W that make q.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor
from torch.fx import GraphModule, Node

from .affine import Affine, affine_of
from .graph import again, module_path, tied
from .into_weights import is_weighted, takes_outputs, why_not_stored, with_outputs
from .passage import pulled
from .rewrite import Match

NAME = "affine-into-previous"


@dataclass(frozen=True)
class Climb:
    """The layer that takes the map in, as which map, and the nodes from it to the map, first ones first."""

    layer: Node
    map_: Affine
    between: tuple[Node, ...]

    @property
    def last(self) -> Node:
        """What the map reads."""
        return self.between[-1] if self.between else self.layer


def find(module: GraphModule) -> Iterator[Match]:
    shared = tied(module)
    for source in module.graph.nodes:
        found = affine_of(module, source)
        climbed = climb(module, source, *found, shared) if found is not None else None
        if climbed is not None:
            yield match_of(source, climbed)


def match_of(source: Node, climbed: Climb) -> Match:
    """The place: the layer, what lies between, other parts of what is split there, the map."""
    beside = [user for node in climbed.between for user in _parts_beside(node, climbed.between)]
    nodes = sorted((climbed.layer, *climbed.between, *beside, source))
    return Match(tuple(nodes), (*beside, source), module_path(source), plan=climbed)


def climb(module: GraphModule, source: Node, map_: Affine, before: Node, shared: set[str]) -> Climb | None:
    """Depth first through everything that lets the map pass."""
    waiting: list[tuple[Node, Affine, tuple[Node, ...]]] = [(before, map_, ())]
    reader = {before: source}
    while waiting:
        node, map_, below = waiting.pop()
        if not _is_read_by_none_but(node, reader[node]):
            continue
        if takes_outputs(module, node, map_):
            if why_not_stored(module, node, shared) is None:
                return Climb(node, map_, below)
            continue
        if is_weighted(node):
            continue
        for above, above_map in reversed(list(pulled(node, map_))):
            if above.op == "call_function" and above not in reader:
                reader[above] = node
                waiting.append((above, above_map, (node, *below)))
    return None


def _is_read_by_none_but(node: Node, reader: Node) -> bool:
    """The one reader of a tensor reads it once; a split value may be read in parts by others."""
    if isinstance(node.meta.get("val"), Tensor):
        return list(node.users) == [reader] and _times_read(node, reader) == 1
    return all(user.target is reader.target for user in node.users)


def _times_read(node: Node, reader: Node) -> int:
    return sum(argument is node for argument in (*reader.args, *reader.kwargs.values()))


def _parts_beside(node: Node, between: tuple[Node, ...]) -> list[Node]:
    """The parts of a split value that are not on the way."""
    return [] if isinstance(node.meta["val"], Tensor) else [user for user in node.users if user not in between]


def rewrite(module: GraphModule, match: Match) -> tuple[Node, ...]:
    """The other parts, and what takes the place of the map: what it read, with the map inside."""
    climbed, beside = match.plan, match.outputs[:-1]
    assert isinstance(climbed, Climb)
    moved = {climbed.layer: with_outputs(module, climbed.layer, climbed.map_)}
    for node in (*climbed.between, *beside):
        moved[node] = again(module, node, moved)
    return (*(moved[node] for node in beside), moved[climbed.last])
