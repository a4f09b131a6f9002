"""A per-channel affine map goes into the linear layers and convolutions that follow it.

The map is a batch norm in eval mode, or a multiplication or division by a constant per channel (an input's 1/std, say).
With x ↦ s·x + t before a layer: W' = W·diag(s), b' = b + W·t. On the way to the layers it passes through operators that
commute with it (`passage.py`). All readers must be such layers, since one that is not would need the map itself.

Zero padding: a padded convolution sees zeros, not s·0 + t, at its border. A scale folds exactly all the same, since
s·0 = 0; a shift does not, and a map with a shift in front of a padded convolution is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from .batch_norm import is_batch_norm, scale_and_shift, why_not_constant
from .graph import (
    arguments,
    call,
    constant,
    double,
    is_op,
    module_path,
    operator_name,
    put,
    shape,
    tied,
    with_arguments,
)
from .passage import BlockedError, axis_after
from .rewrite import Match, Refusal

NAME = "affine-into-next"

_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d")


@dataclass(frozen=True)
class _Path:
    """Everything between a map and the layers that take it in; `axis` has each node's channel axis."""

    between: tuple[Node, ...]
    layers: tuple[Node, ...]
    axis: dict[Node, int]


def find(module: GraphModule) -> Iterator[Match | Refusal]:
    shared = tied(module)
    for source in module.graph.nodes:
        if not (is_batch_norm(source) or _is_constant_scale(module, source)):
            continue
        reason = why_not_constant(module, source) if is_batch_norm(source) else None
        try:
            if reason:
                raise BlockedError(reason)
            path = _follow(module, source, shared)
        except BlockedError as blocked:
            if is_batch_norm(source):
                yield Refusal(NAME, module_path(source), str(blocked))
        else:
            nodes = sorted((source, *path.between, *path.layers))
            yield Match(tuple(nodes), tuple(sorted(path.layers)), module_path(source))


def rewrite(module: GraphModule, match: Match) -> tuple[Node, ...]:
    source = match.nodes[0]
    scale, shift = _scale_and_shift(module, source)
    path = _follow(module, source, set())
    moved: dict[Node, Node] = {source: _input(module, source)}
    for node in match.nodes[1:]:
        if node in path.between:
            moved[node] = call(module, node.target, with_arguments(node, **_first(node, moved)), like=node)
        else:
            moved[node] = _absorb(module, node, moved[_reads(node)], scale, shift)
    return tuple(moved[node] for node in match.outputs)


# The map -------------------------------------------------------------------------------------------------------------


def _is_constant_scale(module: GraphModule, node: Node) -> bool:
    """A product or quotient with a stored tensor that varies along one axis only, an axis that the output keeps."""
    if not is_op(node, "mul", "div") or len(node.args) != 2 or node.kwargs:
        return False
    values = [constant(module, side) for side in node.args]
    first, second = values
    factor = second if second is not None else (first if is_op(node, "mul") else None)
    if factor is None or (first is not None and second is not None) or not factor.is_floating_point():
        return False
    other = node.args[0] if factor is second else node.args[1]
    return isinstance(other, Node) and shape(other) == shape(node) and _factor_axis(factor, node) is not None


def _factor_axis(factor: Tensor, node: Node) -> int | None:
    """The one axis of the node's value along which the factor varies."""
    long = [axis for axis, length in enumerate(factor.shape) if length != 1]
    if len(long) != 1:
        return None
    axis = long[0] + len(shape(node)) - factor.dim()
    return axis if shape(node)[axis] == factor.shape[long[0]] else None


def _scale_and_shift(module: GraphModule, source: Node) -> tuple[Tensor, Tensor]:
    if is_batch_norm(source):
        return scale_and_shift(module, source)
    factor = next(side for side in reversed(source.args) if constant(module, side) is not None)
    assert isinstance(factor, Node)
    value = double(module, factor).flatten()
    scale = 1 / value if is_op(source, "div") else value
    return scale, torch.zeros_like(scale)


def _input(module: GraphModule, source: Node) -> Node:
    return next(side for side in source.args if isinstance(side, Node) and constant(module, side) is None)


# The way to the layers -----------------------------------------------------------------------------------------------


def _follow(module: GraphModule, source: Node, shared: set[str]) -> _Path:
    axis = {source: 1 if is_batch_norm(source) else _scale_axis(module, source)}
    shifted = bool(_scale_and_shift(module, source)[1].any())
    between: list[Node] = []
    layers: list[Node] = []
    waiting = [source]
    while waiting:
        before = waiting.pop()
        if not before.users:
            raise BlockedError("nothing reads it")
        for node in before.users:
            if is_op(node, *_CONVOLUTIONS, "linear"):
                _check_layer(module, node, before, axis[before], shifted, shared)
                layers.append(node)
            else:
                axis[node] = axis_after(node, before, axis[before])
                between.append(node)
                waiting.append(node)
    return _Path(tuple(between), tuple(layers), axis)


def _scale_axis(module: GraphModule, source: Node) -> int:
    factor = next(value for value in (constant(module, side) for side in source.args) if value is not None)
    axis = _factor_axis(factor, source)
    assert axis is not None
    return axis


def _check_layer(module: GraphModule, layer: Node, before: Node, axis: int, shifted: bool, shared: set[str]) -> None:
    given = arguments(layer)
    name = f"{module_path(layer)} ({operator_name(layer)})"
    if _reads(layer) is not before:
        raise BlockedError(f"{name} reads it as a weight")
    if axis != (len(shape(before)) - 1 if is_op(layer, "linear") else 1):
        raise BlockedError(f"the channels are not the inputs of {name}")
    for part in ("weight", "bias"):
        if given[part] is not None and constant(module, given[part]) is None:
            raise BlockedError(f"the {part} of {name} is computed, not stored")
        if given[part] is not None and str(given[part].target) in shared:
            raise BlockedError(f"the {part} of {name} is shared with another layer")
    if shifted and not is_op(layer, "linear") and _padded(given):
        raise BlockedError(f"its shift cannot pass the zero padding of {name}: at the border the layer reads 0, not t")


def _padded(given: dict[str, Any]) -> bool:
    padding = given["padding"]
    return padding != "valid" and (isinstance(padding, str) or any(padding))


def _reads(layer: Node) -> Node:
    read = layer.args[0]
    assert isinstance(read, Node)
    return read


def _first(node: Node, moved: dict[Node, Node]) -> dict[str, Node]:
    assert isinstance(node.target, torch._ops.OpOverload)
    return {node.target._schema.arguments[0].name: moved[_reads(node)]}


# The layers ----------------------------------------------------------------------------------------------------------


def _absorb(module: GraphModule, layer: Node, source: Node, scale: Tensor, shift: Tensor) -> Node:
    """The layer with the map inside its weights, reading `source`."""
    given = arguments(layer)
    weight = double(module, given["weight"])
    per_input = _per_input(weight, scale, given.get("groups", 1))
    bias = _shifted_bias(module, given, weight, _per_input(weight, shift, given.get("groups", 1)))
    name = str(given["weight"].meta.get("wanted", given["weight"].target))
    replaced: dict[str, Any] = {"input": source, "weight": put(module, name, weight * per_input, like=given["weight"])}
    if bias is not None:
        stem = name.removesuffix("weight") if name.endswith("weight") else f"{name}."
        replaced["bias"] = put(module, f"{stem}bias", bias, like=given["weight"])
    return call(module, layer.target, with_arguments(layer, **replaced), like=layer)


def _per_input(weight: Tensor, values: Tensor, groups: int) -> Tensor:
    """One value per input channel, laid out to multiply a weight of shape (out, in/groups, k…)."""
    per_group = values.view(groups, 1, -1).expand(groups, weight.shape[0] // groups, -1)
    return per_group.reshape(*weight.shape[:2], *[1] * (weight.dim() - 2))


def _shifted_bias(module: GraphModule, given: dict[str, Any], weight: Tensor, shift: Tensor) -> Tensor | None:
    """b + W·t; None where there is no bias and no shift."""
    bias = None if given["bias"] is None else double(module, given["bias"])
    if not bool(shift.any()):
        return bias
    moved = (weight * shift).flatten(1).sum(1)
    return moved if bias is None else bias + moved
