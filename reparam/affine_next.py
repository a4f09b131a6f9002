"""A per-channel affine map goes into the layers that follow it.

The map is whatever `affine.py` takes for one, or the weight and bias of a layer, group or root-mean-square norm, of
which the bare norm then stays. On the way to the layers it passes through operators that commute with it
(`passage.py`). All readers must lead to such layers, since one that does not would need the map itself.

Zero padding takes a scale but no shift (`into_weights.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch.fx import GraphModule, Node

from .affine import Affine, affine_of
from .bare_norm import bare, of_norm
from .batch_norm import is_batch_norm, why_not_constant
from .graph import again, module_path, tied
from .into_weights import is_weighted, why_not_inputs, why_not_stored, with_inputs
from .passage import carried
from .reshaping import BlockedError
from .rewrite import Match, Refusal

NAME = "affine-into-next"


@dataclass(frozen=True)
class _Path:
    """Everything between a map and the layers that take it in, and the map as each reader meets it."""

    between: tuple[Node, ...]
    layers: tuple[Node, ...]
    met: dict[Node, Affine]


def find(module: GraphModule) -> Iterator[Match | Refusal]:
    shared = tied(module)
    for source in module.graph.nodes:
        map_ = _map(module, source)
        try:
            if map_ is None:
                if is_batch_norm(source):
                    raise BlockedError(why_not_constant(module, source))
                continue
            path = _follow(module, source, map_, shared)
        except BlockedError as blocked:
            if is_batch_norm(source):
                yield Refusal(NAME, module_path(source), str(blocked))
        else:
            nodes = sorted((source, *path.between, *path.layers))
            yield Match(tuple(nodes), tuple(sorted(path.layers)), module_path(source), plan=path)


def rewrite(module: GraphModule, match: Match) -> tuple[Node, ...]:
    source, path = match.nodes[0], match.plan
    assert isinstance(path, _Path)
    moved = {source: _without_map(module, source)}
    for node in match.nodes[1:]:
        if node in path.between:
            moved[node] = again(module, node, moved)
        else:
            read = node.args[0]
            assert isinstance(read, Node)
            moved[node] = with_inputs(module, node, moved[read], path.met[node])
    return tuple(moved[node] for node in match.outputs)


def _map(module: GraphModule, source: Node) -> Affine | None:
    found = affine_of(module, source)
    return found[0] if found else of_norm(module, source)


def _without_map(module: GraphModule, source: Node) -> Node:
    found = affine_of(module, source)
    return found[1] if found else bare(module, source)


def _follow(module: GraphModule, source: Node, map_: Affine, shared: set[str]) -> _Path:
    """The way of the map to the layers. BlockedError names the first reader that cannot take it."""
    between: list[Node] = []
    met: dict[Node, Affine] = {}
    waiting = [(source, map_)]
    while waiting:
        before, map_ = waiting.pop()
        if not before.users:
            raise BlockedError("nothing reads it")
        for node in before.users:
            if node in met:
                raise BlockedError("it is read twice on the way")
            if is_weighted(node) or is_batch_norm(node):
                met[node] = map_
                if reason := why_not_inputs(node, before, map_) or why_not_stored(module, node, shared):
                    raise BlockedError(reason)
            else:
                met[node] = carried(node, before, map_)
                between.append(node)
                waiting.append((node, met[node]))
    return _Path(tuple(between), tuple(node for node in met if node not in between), met)
