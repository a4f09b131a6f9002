"""A value is not written out to a larger shape in front of an operator that would broadcast it by itself.

x + expand(y) = x + y, and so for every operator on single elements that brings its operands to one shape: the copies
are read, but need not be made. Exact for any lengths, if the other operands, or y, have each length of the result.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from .graph import again, dtype, is_op, module_path, shape
from .rewrite import Match

NAME = "expanded"

_EXPANDS = ("expand", "expand_as")
_BROADCASTING = ("add", "sub", "mul", "div", "maximum", "minimum", "pow", "atan2", "fmod", "remainder")


def find(module: GraphModule) -> Iterator[Match]:
    for node in module.graph.nodes:
        if not is_op(node, *_EXPANDS) or not node.users:
            continue
        small = node.args[0]
        assert isinstance(small, Node)
        if all(_is_as_large_without(user, node, small) for user in node.users):
            readers = tuple(sorted(node.users))
            yield Match((node, *readers), readers, module_path(node))


def _is_as_large_without(user: Node, expanded: Node, small: Node) -> bool:
    """Whether the reader makes a value of the same shape and type from what was to be expanded."""
    if not is_op(user, *_BROADCASTING) or dtype(small) != dtype(user):
        return False
    sides = [small if side is expanded else side for side in _tensors(user)]
    result = shape(user)
    return all(
        any(_length(side, axis - len(result)) == _expression(length) for side in sides)
        for axis, length in enumerate(result)
    )


def _tensors(node: Node) -> list[Node]:
    found: list[Node] = []
    map_arg(node.args, lambda read: found.append(read) or read)
    return [read for read in found if isinstance(read.meta.get("val"), Tensor)]


def _length(node: Node, axis: int) -> object:
    """Length of an axis counted from the end; None where the value has none."""
    return _expression(shape(node)[axis]) if -axis <= len(shape(node)) else None


def _expression(length: Any) -> object:
    return length.node.expr if isinstance(length, torch.SymInt) else length


def rewrite(module: GraphModule, match: Match) -> tuple[Node, ...]:
    expanded, *readers = match.nodes
    small = expanded.args[0]
    assert isinstance(small, Node)
    return tuple(again(module, reader, {expanded: small}) for reader in readers)
