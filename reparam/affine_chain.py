"""Affine maps in a row that no layer takes in become one: s₂·(s₁·x + t₁) + t₂ = (s₂·s₁)·x + (s₂·t₁ + t₂).

What is left is a product and a sum, or one of them. It is done only where that is fewer operators than there were; a
batch norm, which is both in one operator, takes a neighbour in by itself (`affine_previous.py`, `affine_next.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from .affine import Affine, affine, affine_of
from .batch_norm import is_batch_norm
from .graph import call, constant, dtype, module_path, only_user, put
from .rewrite import Match

NAME = "affine-chain"


@dataclass(frozen=True)
class _Chain:
    """What the maps amount to, what the first one reads, and a stored tensor of theirs, if there is one."""

    map_: Affine
    source: Node
    like: Node | None


def find(module: GraphModule) -> Iterator[Match]:
    for last in module.graph.nodes:
        if is_batch_norm(last) or affine_of(module, last) is None or _goes_on(module, last):
            continue
        nodes, map_, source = _chain(module, last)
        stored = [read for node in nodes for read in node.all_input_nodes if constant(module, read) is not None]
        chain = _Chain(map_, source, stored[0] if stored else None)
        if _operators(chain) < len(nodes) and (chain.like is not None or not map_.varies_along()):
            yield Match(nodes, (last,), module_path(last), plan=chain)


def _goes_on(module: GraphModule, node: Node) -> bool:
    """Whether its only reader is a map too, whose chain then has this one."""
    reader = only_user(node)
    if reader is None or is_batch_norm(reader):
        return False
    found = affine_of(module, reader)
    return found is not None and found[1] is node and reader.all_input_nodes.count(node) == 1


def _chain(module: GraphModule, last: Node) -> tuple[tuple[Node, ...], Affine, Node]:
    found = affine_of(module, last)
    assert found is not None
    nodes, (map_, source) = [last], found
    while only_user(source) is nodes[0] and not is_batch_norm(source) and (found := affine_of(module, source)):
        first = found[0]
        map_ = affine(map_.scale * first.scale, map_.scale * first.shift + map_.shift)
        nodes, source = [source, *nodes], found[1]
    return tuple(nodes), map_, source


def _operators(chain: _Chain) -> int:
    scales = bool((chain.map_.scale != 1).any())
    return int(scales) + int(chain.map_.shifts)


def rewrite(module: GraphModule, match: Match) -> tuple[Node, ...]:
    chain = match.plan
    assert isinstance(chain, _Chain)
    value = chain.source
    if bool((chain.map_.scale != 1).any()):
        operand = _operand(module, chain, chain.map_.scale, "scale")
        value = call(module, torch.ops.aten.mul.Tensor, (value, operand), like=match.outputs[0])
    if chain.map_.shifts:
        operand = _operand(module, chain, chain.map_.shift, "shift")
        value = call(module, torch.ops.aten.add.Tensor, (value, operand), like=match.outputs[0])
    return (value,)


def _operand(module: GraphModule, chain: _Chain, part: Tensor, name: str) -> Node | float:
    """A number where the map does not vary, else a stored tensor without the leading axes of length one."""
    if part.numel() == 1 or bool((part == part.flatten()[0]).all()):
        return float(part.flatten()[0])
    assert chain.like is not None
    assert dtype(chain.like).is_floating_point
    while part.dim() > 1 and part.shape[0] == 1:
        part = part[0]
    stem = str(chain.like.meta.get("wanted", chain.like.target)).rpartition(".")[0]
    return put(module, f"{stem}.{name}" if stem else name, part, like=chain.like)
