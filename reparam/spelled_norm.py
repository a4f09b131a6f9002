"""A layer norm that is spelled out in mean, difference, variance and root becomes one operator.

(x − μ) / √(σ² + ε), with μ = mean(x) and σ² = mean((x − μ)²) or var(x) over the same axes, is layer norm over these
axes, if they are the last ones. Over the channels of a map (the LayerNorm2d of many ConvNets) it is one between two
permutations, which often meet others and go. A weight and a bias that follow become the norm's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from .affine import Affine, affine, affine_of
from .batch_norm import is_batch_norm
from .graph import arguments, call, constant, is_op, module_path, only_user, put, shape
from .rewrite import Match

NAME = "spelled-norm"


@dataclass(frozen=True)
class _Norm:
    """What is normalized over which axes, the map that follows, and a stored tensor of that map, if there is one."""

    source: Node
    axes: tuple[int, ...]
    eps: float
    map_: Affine | None = None
    like: Node | None = None


def find(module: GraphModule) -> Iterator[Match]:
    for quotient in module.graph.nodes:
        norm = _norm_of(quotient)
        if norm is None or not _is_expressible(norm):
            continue
        last, norm = _with_affine(module, quotient, norm)
        nodes = _between(norm.source, last)
        if all(user in nodes for node in nodes - {last} for user in node.users):
            yield Match(tuple(sorted(nodes)), (last,), module_path(quotient), plan=norm)


# Reading the formula -------------------------------------------------------------------------------------------------


def _norm_of(quotient: Node) -> _Norm | None:
    """(x − μ) / √(σ² + ε), the quotient being a division by the root or a product with its reciprocal."""
    if not is_op(quotient, "div", "mul") or quotient.kwargs:
        return None
    product = is_op(quotient, "mul")
    one, other = quotient.args
    for centred, root in ((one, other), (other, one)) if product else ((one, other),):
        mean, variance = _centred(centred), _under_root(root, inverse=product)
        if mean is not None and variance is not None and _variance(variance[0]) == mean:
            return _Norm(*mean, eps=variance[1])
    return None


def _under_root(root: object, *, inverse: bool) -> tuple[Node, float] | None:
    """(σ², ε) of √(σ² + ε), or of its reciprocal."""
    if not isinstance(root, Node):
        return None
    names, power = (("rsqrt",), -0.5) if inverse else (("sqrt",), 0.5)
    if not is_op(root, *names) and not (is_op(root, "pow") and root.args[1] == power):
        return None
    total = root.args[0]
    if not is_op(total, "add") or arguments(total)["alpha"] != 1:  # pyright: ignore
        return None
    spread, eps = total.args[:2]  # pyright: ignore
    return (spread, float(eps)) if isinstance(spread, Node) and isinstance(eps, (int, float)) else None


def _centred(node: object) -> tuple[Node, tuple[int, ...]] | None:
    """x − mean(x, axes): (x, axes)."""
    if not is_op(node, "sub") or arguments(node)["alpha"] != 1:  # pyright: ignore
        return None
    source, mean = node.args[:2]  # pyright: ignore
    found = _mean(mean)
    return found if found is not None and found[0] is source else None


def _mean(node: object) -> tuple[Node, tuple[int, ...]] | None:
    """mean(x, axes) with the axes kept: (x, axes)."""
    if is_op(node, "mean"):
        return _over(node)
    return _over(node.args[0]) if _is_part(node, 1) else None  # pyright: ignore


def _variance(node: Node) -> tuple[Node, tuple[int, ...]] | None:
    """The same for mean((x − mean(x))²), and for a variance that divides by the number of elements."""
    if is_op(node, "var") or _is_part(node, 0):
        call_ = node if is_op(node, "var") else node.args[0]
        given = arguments(call_)  # pyright: ignore
        biased = given["correction"] == 0 if "correction" in given else given["unbiased"] is False
        return _over(call_) if biased else None
    outer = _over(node) if is_op(node, "mean") else None
    inner = _centred(_squared(outer[0])) if outer else None
    return inner if outer and inner and inner[1] == outer[1] else None


def _squared(node: Node) -> object:
    if is_op(node, "square") or (is_op(node, "pow") and node.args[1] == 2):
        return node.args[0]
    return node.args[0] if is_op(node, "mul") and node.args[0] is node.args[1] else None


def _is_part(node: object, place: int) -> bool:
    """Whether it is the variance (0) or the mean (1) of a `var_mean`."""
    if not isinstance(node, Node) or not node.args or not is_op(node.args[0], "var_mean"):
        return False
    return place in node.args[1:]


def _over(node: object) -> tuple[Node, tuple[int, ...]] | None:
    assert isinstance(node, Node)
    given, source = arguments(node), node.args[0]
    if not isinstance(source, Node) or not given.get("dim") or not given["keepdim"] or given.get("dtype") is not None:
        return None
    return source, tuple(sorted(axis % len(shape(source)) for axis in given["dim"]))


# Writing one operator ------------------------------------------------------------------------------------------------


def _is_expressible(norm: _Norm) -> bool:
    rank = len(shape(norm.source))
    fixed = all(isinstance(shape(norm.source)[axis], int) for axis in norm.axes)
    return fixed and (norm.axes == tuple(range(rank - len(norm.axes), rank)) or norm.axes == (1,))


def _with_affine(module: GraphModule, quotient: Node, norm: _Norm) -> tuple[Node, _Norm]:
    """The last of the maps behind the norm that its own weight and bias can take in, and the norm with them."""
    one = torch.ones([1] * len(shape(quotient)), dtype=torch.float64)
    last, map_, like = quotient, affine(one, torch.zeros_like(one)), None
    while (reader := only_user(last)) is not None and not is_batch_norm(reader):
        found = affine_of(module, reader)
        if found is None or found[1] is not last or not set(found[0].varies_along()) <= set(norm.axes):
            break
        map_ = affine(map_.scale * found[0].scale, map_.shift * found[0].scale + found[0].shift)
        stored = [read for read in reader.all_input_nodes if constant(module, read) is not None]
        last, like = reader, like or next(iter(stored), None)
    return (quotient, norm) if like is None else (last, replace(norm, map_=map_, like=like))


def _between(source: Node, last: Node) -> set[Node]:
    """All calls from the source to the last."""
    found: set[Node] = set()
    waiting = [last]
    while waiting:
        node = waiting.pop()
        if node is not source and node.op == "call_function" and node not in found:
            found.add(node)
            waiting += node.all_input_nodes
    return found


def rewrite(module: GraphModule, match: Match) -> tuple[Node, ...]:
    norm, (last,) = match.plan, match.outputs
    assert isinstance(norm, _Norm)
    rank = len(shape(norm.source))
    to_last = [0, *range(2, rank), 1]
    moves = norm.axes == (1,) and rank > 2
    value = norm.source
    if moves:
        value = call(module, torch.ops.aten.permute.default, (value, to_last), like=last)
    lengths = [shape(norm.source)[axis] for axis in norm.axes]
    args = (value, lengths, *_weights(module, norm, lengths), norm.eps)
    value = call(module, torch.ops.aten.layer_norm.default, args, like=last)
    if moves:
        back = [to_last.index(axis) for axis in range(rank)]
        value = call(module, torch.ops.aten.permute.default, (value, back), like=last)
    return (value,)


def _weights(module: GraphModule, norm: _Norm, lengths: list[int]) -> tuple[Node | None, Node | None]:
    if norm.map_ is None or norm.like is None:
        return None, None
    stem = str(norm.like.meta.get("wanted", norm.like.target)).rpartition(".")[0]
    named = (("weight", norm.map_.scale), ("bias", norm.map_.shift))
    weight, bias = (
        put(module, f"{stem}.{name}" if stem else name, _laid_out(part, norm, lengths), like=norm.like)
        for name, part in named
    )
    return weight, bias


def _laid_out(part: Tensor, norm: _Norm, lengths: list[int]) -> Tensor:
    """The numbers over just the normalized axes."""
    others = [axis for axis in range(part.dim()) if axis not in norm.axes]
    return part.squeeze(others).expand(lengths)
