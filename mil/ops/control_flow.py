"""Branches, loops and lists (MIL: `control_flow`). `blocks` are the operator's nested blocks as functions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .operator import Blocks, Ints, Table, TensorList, Tensors, bounded

MAX_ITERATIONS = 100_000
"""A loop that runs longer is taken for one that never ends: no vision model comes near."""


def cond(pred: bool, blocks: Blocks) -> list[Any]:
    """The results of the first block when `pred`, else of the second."""
    then, otherwise = blocks
    return then() if pred else otherwise()


def while_loop(loop_vars: Tensors, blocks: Blocks) -> list[Any]:
    """While the first block says true of the loop variables, they become the results of the second."""
    condition, body = blocks
    state = list(loop_vars)
    for _ in range(MAX_ITERATIONS):
        if not bool(condition(*state)[0]):
            return state
        state = body(*state)
    raise ValueError(f"the loop does not end within {MAX_ITERATIONS} iterations")


def make_list(
    elem_shape: tuple = (), init_length: int = 1, dynamic_length: bool = True, dtype: str = "fp32"
) -> TensorList:
    """A list of `init_length` tensors of `elem_shape`, whose elements are zeros until they are written."""
    bounded((init_length,))
    known = all(isinstance(n, int) for n in _dimensions(elem_shape))
    zero = torch.zeros(bounded(tuple(_dimensions(elem_shape)))) if known else None
    return TensorList((None,) * init_length, zero)


def _dimensions(elem_shape: tuple) -> list[Any]:
    """The entries of an element shape: numbers, or names where a dimension is open."""
    entries: list[Any] = []
    for value in elem_shape:
        found = value.reshape(-1).tolist() if isinstance(value, Tensor) else value
        entries += found if isinstance(found, list) else [found]
    return entries


def list_length(ls: TensorList) -> Tensor:
    """The number of elements."""
    return torch.tensor(len(ls.items), dtype=torch.int32)


def list_read(ls: TensorList, index: int) -> Tensor:
    """The element at `index`."""
    if not -len(ls.items) <= index < len(ls.items):
        raise ValueError(f"index {index} of a list of {len(ls.items)}")
    found = ls.items[index]
    return _zero_of(ls) if found is None else found


def list_gather(ls: TensorList, indices: Ints) -> Tensor:
    """The elements at `indices`, stacked."""
    return torch.stack([list_read(ls, i) for i in indices])


def list_write(ls: TensorList, index: int, value: Tensor) -> TensorList:
    """The list with `value` at `index`; it grows when the index is beyond its end."""
    return _written(ls, (index,), (value,))


def list_scatter(ls: TensorList, indices: Ints, value: Tensor) -> TensorList:
    """The list with the slices of `value` at `indices`."""
    return _written(ls, indices, value.unbind(0))


def _written(ls: TensorList, indices: Ints, values: tuple[Tensor, ...]) -> TensorList:
    if min(indices, default=0) < 0:
        raise ValueError(f"cannot write to index {min(indices)} of a list")
    bounded((max(indices, default=0),))
    items = list(ls.items) + [None] * (max(indices, default=-1) + 1 - len(ls.items))
    for index, value in zip(indices, values, strict=True):
        items[index] = value
    return TensorList(tuple(items), ls.zero)


def _zero_of(ls: TensorList) -> Tensor:
    """What an element reads as that was never written."""
    if ls.zero is not None:
        return ls.zero
    written = next((i for i in ls.items if i is not None), None)
    if written is None:
        raise ValueError("reads an element of a list whose element shape is open and that was never written")
    return torch.zeros_like(written)


COMPUTED: Table = {}
MOVED: Table = {
    "cond": cond,
    "while_loop": while_loop,
    "make_list": make_list,
    "list_length": list_length,
    "list_read": list_read,
    "list_gather": list_gather,
    "list_write": list_write,
    "list_scatter": list_scatter,
}
