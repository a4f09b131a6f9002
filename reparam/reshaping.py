"""Where the numbers of a map go when the value that they belong to is reshaped.

A reshape keeps the order of the elements, so old and new axes fall into groups of equal size, as (B, N, 3·h·d) and
(B, N, 3, h, d) do. A map that does not vary within a group stays as short as it is; one that does is written out over
the whole group and reshaped with it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


class BlockedError(Exception):
    """The map cannot pass; the message says why."""


def regrouped(part: Tensor, old: tuple[Any, ...], new: tuple[Any, ...], name: str) -> Tensor:
    """`part`, which broadcasts with a value of shape `old`, as it broadcasts with that value reshaped to `new`.

    Lengths may be open (SymInt). Raises BlockedError where an open axis keeps the groups from being told apart.
    """
    written_out = list(part.shape)
    layout = [1] * len(new)
    for old_axes, new_axes, known in _groups(old, new):
        if all(part.shape[axis] == 1 for axis in old_axes):
            continue
        if not known:
            raise BlockedError(f"{name} mixes the channels with an open axis")
        for axis in old_axes:
            written_out[axis] = old[axis]
        for axis in new_axes:
            layout[axis] = new[axis]
    return part.expand(written_out).reshape(layout)


def _groups(old: tuple[Any, ...], new: tuple[Any, ...]) -> list[tuple[range, range, bool]]:
    """Axes of `old` and of `new` that hold the same elements, last ones first; False where sizes are open."""
    groups: list[tuple[range, range, bool]] = []
    i, j = len(old), len(new)
    while i or j:
        last = (i, j)
        i, j = max(i - 1, 0), max(j - 1, 0)
        if i < last[0] and j < last[1] and _is_same_open(old[i], new[j]):
            groups.append((range(i, i + 1), range(j, j + 1), False))
            continue
        while (sizes := (_size(old[i : last[0]]), _size(new[j : last[1]])))[0] != sizes[1]:
            if None in sizes or (sizes[0] < sizes[1] and not i) or (sizes[0] > sizes[1] and not j):
                return [*groups, (range(last[0]), range(last[1]), False)]
            i, j = (i - 1, j) if sizes[0] < sizes[1] else (i, j - 1)
        if sizes == (None, None):
            return [*groups, (range(last[0]), range(last[1]), False)]
        groups.append((range(i, last[0]), range(j, last[1]), True))
    return groups


def _is_same_open(one: Any, other: Any) -> bool:
    both = isinstance(one, torch.SymInt) and isinstance(other, torch.SymInt)
    return both and one.node.expr == other.node.expr


def _size(lengths: tuple[Any, ...]) -> Any:
    """How many elements there are, or None if that is open."""
    return math.prod(lengths) if all(isinstance(length, int) for length in lengths) else None
