"""A per-channel affine map goes into the layers that follow it.

The map is whatever `affine.py` takes for one, or the weight and bias of a layer, group or root-mean-square norm, of
which the bare norm then stays. On the way to the layers it passes through operators that commute with it
(`passage.py`). All readers must lead to such layers, since one that does not would need the map itself.

Zero padding takes a scale but no shift (`into_weights.py`), and so does a gate. Where only the shift is stopped, a
batch norm x ↦ s·(x + t/s) goes in by half: the layers take s, and x + t/s stays in its place, one addition.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from .affine import Affine, affine, affine_of
from .bare_norm import bare, of_norm
from .batch_norm import is_batch_norm, why_not_constant
from .graph import again, arguments, call, module_path, put, tied
from .into_weights import is_weighted, why_not_inputs, why_not_stored, with_inputs
from .passage import carried
from .reshaping import BlockedError
from .rewrite import Match, Refusal

NAME = "affine-into-next"

LARGEST_REMAINDER = 1e4
"""Half precision ends at 65504."""

REMAINDER = "remainder_of_norm"
"""Key of `node.meta`: this addition is what is left of a batch norm, and a refusal begins with these words."""


@dataclass(frozen=True)
class _Path:
    """Everything between a map and the layers that take it in, and the map as each reader meets it.

    `remainder` is what has to be added to the input before, if not all of the map goes this way.
    """

    between: tuple[Node, ...]
    layers: tuple[Node, ...]
    met: dict[Node, Affine]
    remainder: Tensor | None = None


def find(module: GraphModule) -> Iterator[Match | Refusal]:
    shared = tied(module)
    for source in module.graph.nodes:
        map_ = _map(module, source)
        if map_ is None:
            if is_batch_norm(source):
                yield Refusal(NAME, module_path(source), str(why_not_constant(module, source)))
            continue
        try:
            path = _follow(module, source, map_, shared)
        except BlockedError as blocked:
            path = _by_half(module, source, map_, shared) if is_batch_norm(source) else None
            if path is None:
                if is_batch_norm(source) or REMAINDER in source.meta:
                    yield Refusal(NAME, module_path(source), f"{source.meta.get(REMAINDER, '')}{blocked}")
                continue
        nodes = sorted((source, *path.between, *path.layers))
        yield Match(tuple(nodes), tuple(sorted(path.layers)), module_path(source), plan=path)


def _by_half(module: GraphModule, source: Node, map_: Affine, shared: set[str]) -> _Path | None:
    """The way of the scale alone, where there is one and t/s is a number that any float type holds."""
    remainder = map_.shift / map_.scale
    if not map_.shifts or not bool((remainder.abs() < LARGEST_REMAINDER).all()):
        return None
    try:
        path = _follow(module, source, affine(map_.scale, torch.zeros_like(map_.shift)), shared)
    except BlockedError:
        return None
    return replace(path, remainder=remainder)


def rewrite(module: GraphModule, match: Match) -> tuple[Node, ...]:
    source, path = match.nodes[0], match.plan
    assert isinstance(path, _Path)
    moved = {source: _without_map(module, source)}
    if path.remainder is not None:
        moved[source] = _add(module, source, moved[source], path.remainder)
    for node in match.nodes[1:]:
        if node in path.between:
            moved[node] = again(module, node, moved)
        else:
            read = node.args[0]
            assert isinstance(read, Node)
            moved[node] = with_inputs(module, node, moved[read], path.met[node])
    return tuple(moved[node] for node in match.outputs)


def _add(module: GraphModule, norm: Node, read: Node, remainder: Tensor) -> Node:
    """x + t/s in the place of the norm."""
    like = arguments(norm)["running_mean"]
    name = str(like.meta.get("wanted", like.target)).removesuffix("running_mean") + "shift"
    with module.graph.inserting_before(norm):
        stored = put(module, name, remainder, like=like)
        added = call(module, torch.ops.aten.add.Tensor, (read, stored), like=norm)
    added.meta[REMAINDER] = "its scale was folded, t/s is added: "
    return added


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
