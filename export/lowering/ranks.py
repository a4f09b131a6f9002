"""Tensors of more than five dimensions, which Core ML does not have, taken through operators in at most five.

Windows of attention are cut out of a picture by a reshape to six dimensions, a permutation, and a reshape back. Only
the order of the elements matters to a reshape, so an operator on such a tensor is said as: reshape to fewer dimensions,
the operator, reshape back. Axes may be taken together where the operator treats them alike: for a permutation, where
they stay neighbours; for arithmetic, where each operand has both or neither; for what works along one axis, all in
front of it and all behind it. What is left of six dimensions are reshapes alone, and a reshape of a reshape is one.

An entry of RANKED has the operator's own signature; it returns NotImplemented where no tensor has too many dimensions,
or no form is known (`legalize` then names the place).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node

from .attention import SDPA, attention

aten = torch.ops.aten
MOST = 5
"""Dimensions of a tensor in Core ML."""


# ---- shapes --------------------------------------------------------------------------------------------------------


def _fits(*tensors: Tensor) -> bool:
    return all(tensor.ndim <= MOST for tensor in tensors)


def _shaped(x: Tensor, lengths: Sequence[Any]) -> Tensor:
    """`x` reshaped; one length may be open, and is left to be counted."""
    return x.reshape([length if isinstance(length, int) else -1 for length in lengths])


def _line(x: Tensor, axis: int) -> Tensor:
    """(in front of the axis, the axis, behind it)."""
    axis %= x.ndim
    return _shaped(x, (math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :])))


def _instead(x: Tensor, axis: int, *lengths: Any) -> list[Any]:
    """The shape of `x` with other lengths in the place of one."""
    axis %= x.ndim
    return [*x.shape[:axis], *lengths, *x.shape[axis + 1 :]]


def _together(shape: Sequence[Any], keys: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Neighbouring axes with equal keys as one: (key, length of all). Axes of length 1 go."""
    runs: list[tuple[Any, Any]] = []
    for length, key in zip(shape, keys, strict=True):
        if isinstance(length, int) and length == 1:
            continue
        if runs and runs[-1][0] == key:
            runs[-1] = key, runs[-1][1] * length
        else:
            runs.append((key, length))
    return runs


# ---- operators -----------------------------------------------------------------------------------------------------


def _permute(self: Tensor, dims: list[int]) -> Any:
    if _fits(self):
        return NotImplemented
    order = [axis % self.ndim for axis in dims]
    moved = [axis for axis in order if not (isinstance(self.shape[axis], int) and self.shape[axis] == 1)]
    place = {axis: at for at, axis in enumerate(sorted(moved))}
    blocks: list[list[int]] = []  # axes that are neighbours before and after
    for axis in moved:
        if blocks and place[axis] == place[blocks[-1][-1]] + 1:
            blocks[-1].append(axis)
        else:
            blocks.append([axis])
    size = {block[0]: math.prod(self.shape[axis] for axis in block) for block in blocks}
    target, current = [block[0] for block in blocks], sorted(size)
    moving = _shaped(self, [size[block] for block in current] if len(current) <= MOST else self.shape)
    if len(current) <= MOST:
        moving = moving.permute([current.index(block) for block in target])
    else:
        moving = _by_exchanges(moving, size, current, target)
    return _shaped(moving, [self.shape[axis] for axis in order])


def _by_exchanges(x: Tensor, size: dict[int, Any], current: list[int], target: list[int]) -> Tensor:
    """The blocks of `x` brought from one order into another, each by an exchange with all that is in front of it."""
    for at, block in enumerate(target):
        found = current.index(block)
        if found != at:
            parts = current[:at], current[at:found], [block], current[found + 1 :]
            x = _shaped(x, [math.prod(size[one] for one in part) for part in parts]).transpose(1, 2)
            current = [*parts[0], *parts[2], *parts[1], *parts[3]]
    return x


def _transpose(self: Tensor, dim0: int, dim1: int) -> Any:
    order = list(range(self.ndim))
    order[dim0], order[dim1] = order[dim1], order[dim0]
    return _permute(self, order)


def _by_element(operator: Any) -> Callable[..., Any]:
    """Arithmetic of tensors that broadcast, and of numbers; the last axis stays one."""

    def apply(*given: Any, **named: Any) -> Any:
        tensors = [value for value in given if isinstance(value, Tensor)]
        if _fits(*tensors):
            return NotImplemented
        shape = torch.broadcast_shapes(*(tensor.shape for tensor in tensors))
        whole = [(1,) * (len(shape) - tensor.ndim) + tuple(tensor.shape) for tensor in tensors]
        keys = [(*(own[at] == length for own in whole), at == len(shape) - 1) for at, length in enumerate(shape)]
        runs = _together(shape, keys)
        if len(runs) > MOST:
            return NotImplemented
        few = iter([_shaped(x, [n if key[at] else 1 for key, n in runs]) for at, x in enumerate(tensors)])
        return _shaped(operator(*(next(few) if isinstance(x, Tensor) else x for x in given), **named), shape)

    return apply


def _expand(self: Tensor, size: list[Any], *, implicit: bool = False) -> Any:
    own = (1,) * (len(size) - self.ndim) + tuple(self.shape)
    shape = [length if wanted == -1 else wanted for length, wanted in zip(own, size, strict=True)]
    runs = _together(shape, [length == wanted for length, wanted in zip(own, shape, strict=True)])
    if len(shape) <= MOST or len(runs) > MOST:
        return NotImplemented
    few = _shaped(self, [length if kept else 1 for kept, length in runs])
    return _shaped(few.expand([length for _, length in runs]), shape)


def _reduction(operator: Any) -> Callable[..., Any]:
    def reduce(self: Tensor, dim: Any = None, keepdim: bool = False, **named: Any) -> Any:
        if _fits(self):
            return NotImplemented
        dims = range(self.ndim) if dim is None or dim == [] else [axis % self.ndim for axis in dim]
        runs = _together(self.shape, [axis in dims for axis in range(self.ndim)])
        if len(runs) > MOST:
            return NotImplemented
        over = [at for at, (reduced, _) in enumerate(runs) if reduced]
        few = operator(_shaped(self, [length for _, length in runs]), over, False, **named)
        kept = [1 if axis in dims else length for axis, length in enumerate(self.shape) if keepdim or axis not in dims]
        return _shaped(few, kept)

    return reduce


def _along(operator: Any) -> Callable[..., Any]:
    """What works on one axis and leaves its length: the axis is the first argument behind the tensor."""

    def apply(self: Tensor, dim: int, *rest: Any, **named: Any) -> Any:
        return NotImplemented if _fits(self) else _shaped(operator(_line(self, dim), 1, *rest, **named), self.shape)

    return apply


def _slice(self: Tensor, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
    if _fits(self):
        return NotImplemented
    part = aten.slice.Tensor(_line(self, dim), 1, start, end, step)
    return _shaped(part, _instead(self, dim, part.shape[1]))


def _select(self: Tensor, dim: int, index: int) -> Any:
    return NotImplemented if _fits(self) else _shaped(_line(self, dim).select(1, index), _instead(self, dim))


def _unbind(self: Tensor, dim: int = 0) -> Any:
    if _fits(self):
        return NotImplemented
    return [_shaped(part, _instead(self, dim)) for part in _line(self, dim).unbind(1)]


def _split(operator: Any) -> Callable[..., Any]:
    def apply(self: Tensor, sizes: Any, dim: int = 0) -> Any:
        if _fits(self):
            return NotImplemented
        return [_shaped(part, _instead(self, dim, part.shape[1])) for part in operator(_line(self, dim), sizes, 1)]

    return apply


def _cat(tensors: list[Tensor], dim: int = 0) -> Any:
    if _fits(*tensors):
        return NotImplemented
    joined = torch.cat([_line(tensor, dim) for tensor in tensors], 1)
    return _shaped(joined, _instead(tensors[0], dim, joined.shape[1]))


def _stack(tensors: list[Tensor], dim: int = 0) -> Any:
    rank = tensors[0].ndim + 1
    if rank <= MOST:
        return NotImplemented
    shape = list(tensors[0].shape)
    shape.insert(dim % rank, len(tensors))
    front = math.prod(shape[: dim % rank])
    return _shaped(torch.cat([_shaped(tensor, (front, 1, -1)) for tensor in tensors], 1), shape)


def _roll(self: Tensor, shifts: list[int], dims: list[int] = []) -> Any:  # noqa: B006 - the operator's own default
    if _fits(self) or not dims:
        return NotImplemented
    rolled = self
    for shift, axis in zip(shifts, dims, strict=True):
        rolled = _shaped(_line(rolled, axis).roll(shift, 1), self.shape)
    return rolled


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
    if _fits(input):
        return NotImplemented
    rows = torch.nn.functional.linear(_shaped(input, (-1, input.shape[-1])), weight, bias)
    return _shaped(rows, (*input.shape[:-1], weight.shape[0]))


def _layer_norm(input: Tensor, normalized_shape: list[int], *rest: Any) -> Any:
    if _fits(input):
        return NotImplemented
    return _shaped(
        aten.layer_norm.default(_shaped(input, (-1, *normalized_shape)), normalized_shape, *rest), input.shape
    )


def _matmul(self: Tensor, other: Tensor) -> Any:
    if _fits(self, other) or min(self.ndim, other.ndim) < 2:
        return NotImplemented
    lead = torch.broadcast_shapes(self.shape[:-2], other.shape[:-2])
    whole = [(1,) * (len(lead) + 2 - x.ndim) + tuple(x.shape[:-2]) for x in (self, other)]
    runs = _together(lead, [tuple(own[at] == length for own in whole) for at, length in enumerate(lead)])
    if len(runs) > MOST - 2:
        return NotImplemented
    few = [
        _shaped(x, [n if key[at] else 1 for key, n in runs] + list(x.shape[-2:])) for at, x in enumerate((self, other))
    ]
    return _shaped(few[0] @ few[1], (*lead, self.shape[-2], other.shape[-1]))


def _attention(query: Tensor, key: Tensor, value: Tensor, *rest: Any, **named: Any) -> Any:
    return NotImplemented if _fits(query, key, value) else attention(query, key, value, *rest, **named)


ARITHMETIC = (
    aten.add.Tensor,
    aten.sub.Tensor,
    aten.mul.Tensor,
    aten.div.Tensor,
    aten.maximum.default,
    aten.minimum.default,
    aten.where.self,
    *(
        getattr(getattr(aten, name), kind)
        for name in ("eq", "ne", "lt", "le", "gt", "ge")
        for kind in ("Scalar", "Tensor")
    ),
    aten.masked_fill.Scalar,
    aten.pow.Tensor_Scalar,
    aten.clamp.default,
    aten._to_copy.default,
    aten.neg.default,
    aten.abs.default,
    aten.exp.default,
    aten.sqrt.default,
    aten.rsqrt.default,
    aten.sigmoid.default,
    aten.tanh.default,
    aten.relu.default,
    aten.gelu.default,
    aten.silu.default,
)

RANKED: dict[Any, Callable[..., Any]] = {
    **{operator: _by_element(operator) for operator in ARITHMETIC},
    **{
        operator: _reduction(operator)
        for operator in (aten.mean.dim, aten.sum.dim_IntList, aten.amax.default, aten.amin.default)
    },
    **{operator: _along(operator) for operator in (aten.softmax.int, aten._softmax.default, aten.cumsum.default)},
    **{
        operator: _split(operator)
        for operator in (aten.split.Tensor, aten.split_with_sizes.default, aten.chunk.default)
    },
    aten.permute.default: _permute,
    aten.transpose.int: _transpose,
    aten.expand.default: _expand,
    aten.slice.Tensor: _slice,
    aten.select.int: _select,
    aten.unbind.int: _unbind,
    aten.cat.default: _cat,
    aten.stack.default: _stack,
    aten.roll.default: _roll,
    aten.linear.default: _linear,
    aten.layer_norm.default: _layer_norm,
    aten.matmul.default: _matmul,
    SDPA: _attention,
}
"""Operator → the same in tensors of at most five dimensions, between reshapes."""

_ORDERLY = {
    aten.view.default,
    aten._unsafe_view.default,
    aten.reshape.default,
    aten.flatten.using_ints,
    aten.unflatten.int,
    aten.unsqueeze.default,
    aten.squeeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.clone.default,
    aten.contiguous.default,
}
"""What keeps the order of the elements."""


def merge_reshapes(program: ExportedProgram) -> None:
    """Make one reshape of two with more than five dimensions between them, in place."""
    for node in program.graph.nodes:
        if node.target in _ORDERLY and sum(not isinstance(length, int) for length in node.meta["val"].shape) <= 1:
            source = node.args[0]
            while source.target in _ORDERLY and not _fits(source.meta["val"]):
                source = source.args[0]
            if source is not node.args[0]:
                lengths = [length if isinstance(length, int) else -1 for length in node.meta["val"].shape]
                node.target, node.args, node.kwargs = aten.reshape.default, (source, lengths), {}
    program.graph.eliminate_dead_code()


def beyond(program: ExportedProgram) -> Node | None:
    """The operator that has no form in five dimensions here; a reshape only if nothing else does."""
    found = [node for node in program.graph.nodes if any(map(too_many, (node, *node.all_input_nodes)))]
    return next(
        (node for node in found if node.op == "call_function" and node.target not in _ORDERLY), (*found, None)[0]
    )


def too_many(node: Node) -> tuple[int, ...] | None:
    """The shape of a value that has more dimensions than Core ML; None for any other."""
    value = node.meta.get("val")
    values = value if isinstance(value, list | tuple) else (value,)
    return next((tuple(one.shape) for one in values if isinstance(one, Tensor) and not _fits(one)), None)
