"""The affine map x ↦ s·x + t that an operator with fixed numbers is, element by element.

A batch norm in eval mode, a product, quotient, sum or difference with a constant, a layer scale, an attention scale:
to the rules they are all one noun, whose scale and shift vary along some axes of the value, and not along the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from .batch_norm import is_batch_norm, scale_and_shift, why_not_constant
from .graph import arguments, constant, dtype, is_op, shape


@dataclass(frozen=True)
class Affine:
    """x ↦ scale·x + shift. Both float64, of one shape, of the rank of x, with length one where they do not vary."""

    scale: Tensor
    shift: Tensor

    @property
    def shifts(self) -> bool:
        return bool(self.shift.any())

    def varies_along(self) -> tuple[int, ...]:
        return tuple(axis for axis, length in enumerate(self.scale.shape) if length != 1)

    def along(self, axis: int, length: int) -> tuple[Tensor, Tensor]:
        """Scale and shift as vectors over an axis; they must not vary along any other."""
        assert set(self.varies_along()) <= {axis}
        return self.scale.flatten().expand(length), self.shift.flatten().expand(length)


def affine(scale: Tensor, shift: Tensor) -> Affine:
    """The map, its parts brought to one shape that has length one wherever neither varies."""
    return Affine(*torch.broadcast_tensors(_once(scale), _once(shift)))


def _once(part: Tensor) -> Tensor:
    """With length one wherever it does not vary."""
    for axis, length in enumerate(part.shape):
        first = part.narrow(axis, 0, 1)
        if length > 1 and all(bool((some == first).all()) for some in (part.narrow(axis, 1, 1), part)):
            part = first
    return part


def affine_of(module: GraphModule, node: Node) -> tuple[Affine, Node] | None:
    """The map that this node applies to a node that it reads, or None if it is no fixed affine map."""
    if is_batch_norm(node):
        return None if why_not_constant(module, node) else (_of_batch_norm(module, node), _first(node))
    if is_op(node, "neg") and dtype(node).is_floating_point:
        return affine(_number(-1.0, node), _number(0.0, node)), _first(node)
    if not is_op(node, "mul", "div", "add", "sub", "rsub"):
        return None
    given = arguments(node)
    if given.get("rounding_mode"):
        return None
    left, right = given["self"], given["other"]
    if is_op(node, "rsub"):  # the number that is subtracted from comes second
        left, right = right, left
    alpha = float(given.get("alpha", 1))
    if (fixed := _fixed(module, right, node)) is not None and _keeps(left, node):
        found, read = _with_fixed_right(node, fixed, alpha), left
    elif (fixed := _fixed(module, left, node)) is not None and _keeps(right, node) and not is_op(node, "div"):
        found, read = _with_fixed_left(node, fixed, alpha), right
    else:
        return None
    return (found, read) if bool(torch.isfinite(found.scale).all()) else None


def _of_batch_norm(module: GraphModule, norm: Node) -> Affine:
    layout = (1, -1, *[1] * (len(shape(norm)) - 2))
    scale, shift = scale_and_shift(module, norm)
    return affine(scale.view(layout), shift.view(layout))


def _with_fixed_right(node: Node, fixed: Tensor, alpha: float) -> Affine:
    if is_op(node, "mul"):
        return affine(fixed, _number(0.0, node))
    if is_op(node, "div"):
        return affine(1 / fixed, _number(0.0, node))
    return affine(_number(1.0, node), alpha * fixed if is_op(node, "add") else -alpha * fixed)


def _with_fixed_left(node: Node, fixed: Tensor, alpha: float) -> Affine:
    if is_op(node, "mul"):
        return affine(fixed, _number(0.0, node))
    return affine(_number(alpha if is_op(node, "add") else -alpha, node), fixed)


def _fixed(module: GraphModule, side: object, node: Node) -> Tensor | None:
    """A stored tensor or a number as float64 of the rank of the node's value."""
    if isinstance(side, (int, float)) and not isinstance(side, bool):
        return _number(float(side), node)
    value = constant(module, side)
    if value is None or not value.is_floating_point() or value.dim() > len(shape(node)):
        return None
    return value.detach().double().view(*[1] * (len(shape(node)) - value.dim()), *value.shape)


def _number(value: float, node: Node) -> Tensor:
    return torch.full([1] * len(shape(node)), value, dtype=torch.float64)


def _keeps(side: object, node: Node) -> bool:
    """Whether the map reads this side and makes a value of its shape and type: nothing is broadcast or converted."""
    if not isinstance(side, Node) or side.op == "get_attr" or not isinstance(side.meta.get("val"), Tensor):
        return False
    return shape(side) == shape(node) and dtype(side) == dtype(node) and dtype(node).is_floating_point


def _first(node: Node) -> Node:
    read = node.args[0]
    assert isinstance(read, Node)
    return read
