"""Parallel branches of one input that are summed become one convolution or linear layer.

W₁∗x + b₁ + W₂∗x + b₂ = (W₁ + W₂)∗x + (b₁ + b₂), once both kernels lie on one grid of taps: a 1×1 kernel is a 3×3 one
with zeros around it, if the paddings put its tap in the middle. A batch norm, a product with a constant, the identity
and an average pooling are convolutions too, of one channel per group: diag(s), 1, and 1/k² everywhere.

These are the branches of RepVGG (arXiv 2101.03697, section 3.3), MobileOne (2206.04040) and FastViT (2303.14189).
Nothing is merged that would then cost more multiplications.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from .affine import affine_of
from .graph import (
    arguments,
    call,
    double,
    dtype,
    is_op,
    module_path,
    only_user,
    operator_name,
    put,
    shape,
    tied,
    with_arguments,
)
from .into_weights import CONVOLUTIONS, bias_name, why_not_stored
from .rewrite import Match

NAME = "branches"


@dataclass(frozen=True)
class _Branch:
    """The summand at `place` as a convolution of `source`, with the sign that it has in the sum.

    `kernel` (out, in/groups, k…) and `bias` (out) are float64. `first` is the place of the first tap of each axis,
    relative to the position that is written times the stride; the taps are `step` apart.
    """

    place: int
    node: Node
    source: Node
    sign: float
    kernel: Tensor
    bias: Tensor
    groups: int
    stride: tuple[int, ...]
    first: tuple[int, ...]
    step: tuple[int, ...]


@dataclass(frozen=True)
class _Plan:
    """All summands of a sum with their signs, those that become one, and the layer that they become."""

    summands: tuple[tuple[Node, float], ...]
    taken: tuple[_Branch, ...]
    merged: _Branch


def find(module: GraphModule) -> Iterator[Match]:
    shared = tied(module)
    for root in module.graph.nodes:
        if not _is_sum(root) or _is_part_of_a_sum(root):
            continue
        additions: list[Node] = []
        summands: list[tuple[Node, float]] = []
        _gather(root, 1.0, additions, summands)
        branches = [branch for place in range(len(summands)) for branch in _branches(module, summands, place, shared)]
        taken, merged = _merge_most(branches)
        if len(taken) > 1:
            assert merged is not None
            gone = {branch.node for branch in taken if branch.node is not branch.source}
            plan = _Plan(tuple(summands), taken, merged)
            yield Match(tuple(sorted({*additions, *gone})), (root,), module_path(merged.node), plan=plan)


# The sum -------------------------------------------------------------------------------------------------------------


def _is_sum(node: Node | None) -> bool:
    """An addition or subtraction of two computed values of one shape and type."""
    if not is_op(node, "add", "sub"):
        return False
    assert node is not None
    sides = [node.args[0], arguments(node)["other"]]
    if not all(isinstance(side, Node) and side.op != "get_attr" for side in sides):
        return False
    return all(_alike(side, node) for side in sides if isinstance(side, Node))


def _alike(side: Node, node: Node) -> bool:
    value = side.meta.get("val")
    return isinstance(value, Tensor) and value.shape == shape(node) and value.dtype == dtype(node)


def _is_part_of_a_sum(node: Node) -> bool:
    return _is_sum(only_user(node))


def _gather(node: Node, sign: float, additions: list[Node], summands: list[tuple[Node, float]]) -> None:
    additions.append(node)
    given = arguments(node)
    of_other = float(given["alpha"]) * (1.0 if is_op(node, "add") else -1.0)
    for side, factor in ((given["self"], sign), (given["other"], sign * of_other)):
        if _is_sum(side) and only_user(side) is node:
            _gather(side, factor, additions, summands)
        else:
            summands.append((side, factor))


# The branches --------------------------------------------------------------------------------------------------------


def _branches(
    module: GraphModule, summands: list[tuple[Node, float]], place: int, shared: set[str]
) -> Iterator[_Branch]:
    """The ways to see a summand as a convolution: as what it is, and as the identity on itself."""
    node, sign = summands[place]
    if [summand for summand, _ in summands].count(node) == 1 and len(node.users) == 1:
        if _is_layer(node):
            if why_not_stored(module, node, shared) is None and not _is_lopsided(node):
                yield _of_layer(module, node, sign, place)
        elif (found := affine_of(module, node)) and _per_channel(node, found[0].varies_along()):
            scale, shift = found[0].along(1, shape(node)[1])
            yield _pointwise(node, found[1], sign, place, scale, shift)
        elif is_op(node, "avg_pool1d", "avg_pool2d", "avg_pool3d") and _is_convolution(node):
            yield _of_pooling(node, sign, place)
    if _per_channel(node, ()):
        width = shape(node)[1]
        yield _pointwise(node, node, sign, place, torch.ones(width).double(), torch.zeros(width).double())


def _is_layer(node: Node) -> bool:
    return is_op(node, *CONVOLUTIONS, "linear") and node.all_input_nodes.count(node.args[0]) == 1  # pyright: ignore


def _is_lopsided(layer: Node) -> bool:
    """Whether "same" pads one side more than the other."""
    given = arguments(layer)
    taps = shape(given["weight"])[2:]
    gaps = _spread(given.get("dilation", 1), len(taps))
    return given.get("padding") == "same" and any(gap * (n - 1) % 2 for gap, n in zip(gaps, taps, strict=True))


def _per_channel(node: Node, axes: tuple[int, ...]) -> bool:
    return len(shape(node)) >= 3 and isinstance(shape(node)[1], int) and set(axes) <= {1}


def _of_layer(module: GraphModule, layer: Node, sign: float, place: int) -> _Branch:
    given = arguments(layer)
    kernel = double(module, given["weight"])
    bias = torch.zeros_like(kernel.flatten(1)[:, 0]) if given["bias"] is None else double(module, given["bias"])
    taps = kernel.shape[2:]
    stride, padding, step = (_spread(given.get(name, ()), len(taps)) for name in ("stride", "padding", "dilation"))
    if padding == ("same",) * len(taps):
        first = tuple(-(gap * (extent - 1) // 2) for gap, extent in zip(step, taps, strict=True))
    else:
        first = tuple(0 if pad == "valid" else -pad for pad in padding)
    step = tuple(gap if extent > 1 else 0 for gap, extent in zip(step, taps, strict=True))
    source = layer.args[0]
    assert isinstance(source, Node)
    return _Branch(place, layer, source, sign, kernel, bias, given.get("groups", 1), stride, first, step)


def _pointwise(node: Node, source: Node, sign: float, place: int, scale: Tensor, shift: Tensor) -> _Branch:
    dims = len(shape(node)) - 2
    kernel = scale.reshape(-1, 1, *[1] * dims)
    return _Branch(place, node, source, sign, kernel, shift, len(kernel), (1,) * dims, (0,) * dims, (0,) * dims)


def _is_convolution(pool: Node) -> bool:
    """Whether every mean divides by the size of the window, zero padding counted in."""
    given = arguments(pool)
    dims = len(shape(pool)) - 2
    padded = any(_spread(given["padding"], dims))
    whole = given["count_include_pad"] or not padded
    return whole and not given["ceil_mode"] and isinstance(shape(pool)[1], int) and dims > 0


def _of_pooling(pool: Node, sign: float, place: int) -> _Branch:
    given, dims, width = arguments(pool), len(shape(pool)) - 2, shape(pool)[1]
    window = _spread(given["kernel_size"], dims)
    stride = _spread(given["stride"] or window, dims)
    share = 1 / (given.get("divisor_override") or math.prod(window))
    kernel = torch.full((width, 1, *window), share, dtype=torch.float64)
    first = tuple(-pad for pad in _spread(given["padding"], dims))
    step = tuple(int(extent > 1) for extent in window)
    source = pool.args[0]
    assert isinstance(source, Node)
    return _Branch(place, pool, source, sign, kernel, torch.zeros(width).double(), width, stride, first, step)


def _spread(value: Any, dims: int) -> tuple[Any, ...]:
    """An argument per dimension; torch takes one value for all."""
    values = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    return values if len(values) == dims else values * dims


# Merging -------------------------------------------------------------------------------------------------------------


def _merge_most(branches: list[_Branch]) -> tuple[tuple[_Branch, ...], _Branch | None]:
    """The first layer that can take in other branches of its input at no cost, with all that it can, and as what."""
    for layer in branches:
        if not _is_layer(layer.node) or layer.node is layer.source:
            continue
        taken, merged = (layer,), layer
        for other in branches:
            if other.source is layer.source and other.place not in [branch.place for branch in taken]:
                both = _merge(merged, other)
                taken, merged = ((*taken, other), both) if both else (taken, merged)
        if len(taken) > 1:
            return taken, merged
    return (), None


def _merge(layer: _Branch, other: _Branch) -> _Branch | None:
    """Both as one, or None where they have no common form that costs no more."""
    same = layer.stride == other.stride and layer.kernel.shape[0] == other.kernel.shape[0]
    if not same or layer.kernel.dim() != other.kernel.dim():
        return None
    if any(a and b and a != b for a, b in zip(layer.step, other.step, strict=True)):
        return None
    first, last = tuple(map(min, layer.first, other.first)), tuple(map(max, _last(layer), _last(other)))
    step = tuple(max(a, b, 1) for a, b in zip(layer.step, other.step, strict=True))
    if any(low > 0 for low in first) or _growth(first, last) != _growth(layer.first, _last(layer)):
        return None
    offsets = zip(first, layer.first, other.first, step, strict=True)
    if any((one - low) % gap or (two - low) % gap for low, one, two, gap in offsets):
        return None
    taps = tuple((high - low) // gap + 1 for low, high, gap in zip(first, last, step, strict=True))
    groups = math.gcd(layer.groups, other.groups)
    if layer.kernel.shape[0] * layer.kernel.shape[1] * layer.groups // groups * math.prod(taps) > (
        layer.kernel.numel() + other.kernel.numel()
    ):
        return None
    empty = torch.zeros(len(layer.bias), layer.kernel.shape[1] * layer.groups // groups, *taps, dtype=torch.float64)
    merged = replace(layer, sign=1.0, kernel=empty, groups=groups, first=first, step=step)
    kernel = layer.sign * _laid_out(layer, merged) + other.sign * _laid_out(other, merged)
    return replace(merged, kernel=kernel, bias=layer.sign * layer.bias + other.sign * other.bias)


def _growth(first: tuple[int, ...], last: tuple[int, ...]) -> tuple[int, ...]:
    """How much larger than the input a branch makes its output, were the stride 1, when both sides are padded alike."""
    return tuple(-low - high for low, high in zip(first, last, strict=True))


def _last(branch: _Branch) -> tuple[int, ...]:
    extents = zip(branch.first, branch.step, branch.kernel.shape[2:], strict=True)
    return tuple(low + gap * (extent - 1) for low, gap, extent in extents)


def _laid_out(branch: _Branch, whole: _Branch) -> Tensor:
    """The branch's kernel on the grid of taps and in the groups of `whole`: zeros elsewhere."""
    starts = [(own - low) // gap for own, low, gap in zip(branch.first, whole.first, whole.step, strict=True)]
    taps = [slice(start, start + n) for start, n in zip(starts, branch.kernel.shape[2:], strict=True)]
    within = branch.groups // whole.groups  # the branch's groups in one group of the whole
    rows, columns = len(branch.kernel) // branch.groups, branch.kernel.shape[1]
    extents = branch.kernel.shape[2:]
    kernel = torch.zeros_like(whole.kernel)
    blocks = kernel.view(whole.groups, within, rows, within, columns, *kernel.shape[2:])
    diagonal = torch.arange(within)
    own = branch.kernel.view(whole.groups, within, rows, columns, *extents)
    blocks[(slice(None), diagonal, slice(None), diagonal, slice(None), *taps)] = own.transpose(0, 1)
    return kernel


# Writing -------------------------------------------------------------------------------------------------------------


def rewrite(module: GraphModule, match: Match) -> tuple[Node, ...]:
    plan = match.plan
    assert isinstance(plan, _Plan)
    total = _layer(module, plan.merged)
    gone = [branch.place for branch in plan.taken]
    for place, (node, sign) in enumerate(plan.summands):
        if place not in gone:
            total = call(module, torch.ops.aten.add.Tensor, (total, node), like=match.outputs[0])
            total.kwargs = {} if sign == 1 else {"alpha": int(sign) if sign == int(sign) else sign}
    return (total,)


def _layer(module: GraphModule, merged: _Branch) -> Node:
    node = merged.node
    given = arguments(node)
    name = str(given["weight"].meta.get("wanted", given["weight"].target))
    changed: dict[str, Any] = {"weight": put(module, name, merged.kernel, like=given["weight"])}
    if given["bias"] is not None or bool(merged.bias.any()):
        changed["bias"] = put(module, bias_name(name), merged.bias, like=given["weight"])
    if not is_op(node, "linear"):
        changed["padding"] = [-low for low in merged.first]
        changed["dilation"] = list(merged.step)
        changed["groups"] = merged.groups
    target = getattr(torch.ops.aten, operator_name(node)).default
    return call(module, target, with_arguments(node, **changed), like=node)
