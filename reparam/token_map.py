"""Linear layers over the positions of a map run on the map itself, as 1×1 convolutions: no transposes arise.

Tokens are a map (B, C, H, W) flattened and transposed to (B, H·W, C), so a layer over their last axis is one over the
map's channels: linear(tokens, W) is the tokens of conv(map, W[:, :, 1, 1]). What is done to each element is the same in
either form, and a sum over the channels, or over all positions, is one over axis 1, or over both of 2 and 3. Where all
that becomes of the tokens is of these kinds until they are a map of that size again, the whole stretch is done on the
map, and the moves at its two ends go. As in the additive attention of SwiftFormer (arXiv 2303.15446).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from .graph import arguments, axis_order, call, constant, double, is_op, module_path, only_user, put, shape, tied
from .into_weights import why_not_stored
from .rewrite import Match

NAME = "token-map"

_UNARY = (
    *("relu", "relu6", "gelu", "silu", "sigmoid", "tanh", "exp", "log", "sqrt", "rsqrt", "abs", "neg", "square"),
    *("hardswish", "hardsigmoid", "hardtanh", "leaky_relu", "elu", "softplus", "clamp", "clamp_min", "clamp_max"),
)
_BINARY = ("add", "sub", "mul", "div", "maximum", "minimum")
_REDUCTIONS = ("sum", "mean", "amax", "amin", "linalg_vector_norm")
_FLATTENS = ("flatten", "reshape", "view")
_UNFLATTENS = ("reshape", "view", "unflatten")
_ON_MAP = {0: [0], 1: [2, 3], 2: [1]}
"""The axes of the map that an axis of the tokens is."""


@dataclass(frozen=True)
class _Stretch:
    """What is done to the tokens of `source`: the calls, and for each last move back to a map, the tokens it reads."""

    source: Node
    tokens: Node
    calls: tuple[Node, ...]
    back: dict[Node, Node]


def find(module: GraphModule) -> Iterator[Match]:
    shared = tied(module)
    for tokens in module.graph.nodes:
        source = _map_of(tokens)
        stretch = _follow(module, source, tokens, shared) if source is not None else None
        if stretch is None or not any(is_op(call, "linear") for call in stretch.calls):
            continue
        flat = tokens.args[0]
        assert isinstance(flat, Node)
        moves = [tokens, *([flat] if only_user(flat) is tokens else [])]
        moves += [node for last in stretch.back for node in (*last.all_input_nodes, last)]
        outputs = tuple(sorted(stretch.back))
        yield Match(tuple(sorted((*moves, *stretch.calls))), outputs, module_path(stretch.calls[0]), plan=stretch)


def _map_of(tokens: Node) -> Node | None:
    """The map (B, C, H, W) of which these are the tokens (B, H·W, C); None if they are not made so."""
    flat = tokens.args[0] if is_op(tokens, "permute", "transpose") else None
    if not (isinstance(flat, Node) and is_op(flat, *_FLATTENS) and _swaps(tokens)):
        return None
    source = flat.args[0]
    if not isinstance(source, Node) or source.op == "get_attr" or len(shape(source)) != 4:
        return None
    sizes = shape(source)
    fixed = all(isinstance(length, int) for length in sizes[1:])
    if fixed and sizes[2] * sizes[3] > 1 and shape(flat)[1:] == (sizes[1], sizes[2] * sizes[3]):
        return source
    return None


def _swaps(node: Node) -> bool:
    """Whether a move of a value of three axes exchanges the last two."""
    return len(shape(node)) == 3 and axis_order(node) == [0, 2, 1]


def _follow(module: GraphModule, source: Node, tokens: Node, shared: set[str]) -> _Stretch | None:
    """All that becomes of the tokens; None if some of it is not to be had on the map."""
    calls: list[Node] = []
    back: dict[Node, Node] = {}
    waiting = sorted(tokens.users)
    while waiting:
        node = waiting.pop(0)
        if (last := _way_back(node, source)) is not None:
            back[last] = node.all_input_nodes[0]
        elif _is_by_position(module, node, {tokens, *calls}, shared):
            calls.append(node)
            waiting = sorted({*waiting, *node.users})
        else:
            return None
    return _Stretch(source, tokens, tuple(calls), back) if back else None


def _way_back(node: Node, source: Node) -> Node | None:
    """The reshape that completes the way from tokens to a map of the source's size, if this node begins it."""
    last = only_user(node) if is_op(node, "permute", "transpose") and _swaps(node) else None
    if last is None or not is_op(last, *_UNFLATTENS) or len(shape(last)) != 4:
        return None
    channels = shape(node)[1]
    return last if shape(last)[1:] == (channels, *shape(source)[2:]) else None


def _is_by_position(module: GraphModule, node: Node, values: set[Node], shared: set[str]) -> bool:
    """Whether the call does to the tokens what can be done to the map."""
    if not isinstance(node.meta.get("val"), Tensor) or not isinstance(node.target, torch._ops.OpOverload):
        return False
    computed = [read for read in node.all_input_nodes if read.op != "get_attr"]
    if not all(read in values for read in computed):
        return False
    given = arguments(node)
    if is_op(node, "linear"):
        return given["input"] in values and why_not_stored(module, node, shared) is None
    if is_op(node, *_UNARY):
        return len(node.all_input_nodes) == 1
    if is_op(node, *_BINARY):
        return not given.get("rounding_mode") and all(
            _is_per_channel(module, read, shared) for read in node.all_input_nodes if read.op == "get_attr"
        )
    if is_op(node, *_REDUCTIONS):
        named = given.get("dim") is not None and len(node.all_input_nodes) == 1
        return named and given["keepdim"] and given.get("dtype") is None
    return False


def _is_per_channel(module: GraphModule, operand: Node, shared: set[str]) -> bool:
    """A stored vector over the last axis, or a single number."""
    value = constant(module, operand)
    floating = value is not None and value.is_floating_point() and str(operand.target) not in shared
    return floating and value.dim() <= 3 and value.numel() == (value.shape[-1] if value.dim() else 1)  # pyright: ignore


def rewrite(module: GraphModule, match: Match) -> tuple[Node, ...]:
    stretch = match.plan
    assert isinstance(stretch, _Stretch)
    maps = {stretch.tokens: stretch.source}
    for node in stretch.calls:
        with module.graph.inserting_before(node):
            maps[node] = _on_map(module, node, maps)
    return tuple(maps[stretch.back[last]] for last in match.outputs)


def _on_map(module: GraphModule, node: Node, maps: dict[Node, Node]) -> Node:
    given = arguments(node)
    if is_op(node, "linear"):
        weight = _stored(module, given["weight"], double(module, given["weight"])[:, :, None, None])
        args = (maps[given["input"]], weight, given["bias"])
        return call(module, torch.ops.aten.conv2d.default, args, like=node)
    if is_op(node, *_REDUCTIONS):
        axes = given["dim"] if isinstance(given["dim"], (list, tuple)) else [given["dim"]]
        changed = {"dim": sorted(place for axis in axes for place in _ON_MAP[axis % 3])}
        named = [argument.name for argument in node.target._schema.arguments if not argument.kwarg_only]  # pyright: ignore
        values: dict[str, Any] = given | changed
        args = (maps[node.all_input_nodes[0]], *(values[name] for name in named[1:]))
        return call(module, node.target, args, like=node)
    args = tuple(_operand(module, argument, maps) for argument in node.args)
    made = call(module, node.target, args, like=node)
    made.kwargs = dict(node.kwargs)
    return made


def _operand(module: GraphModule, argument: Any, maps: dict[Node, Node]) -> Any:
    if not isinstance(argument, Node):
        return argument
    if argument in maps:
        return maps[argument]
    return _stored(module, argument, double(module, argument).reshape(-1, 1, 1))


def _stored(module: GraphModule, weight: Node, value: Tensor) -> Node:
    return put(module, str(weight.meta.get("wanted", weight.target)), value, like=weight)
