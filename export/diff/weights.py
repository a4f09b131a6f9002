"""Which constant of one file is which of the other's, by what they hold: names mean nothing across tools.

Four passes, each on what the one before left: the same numbers; the same once both are rounded to float16; the same
numbers in another order of axes (a linear layer's weight is stored transposed by some); and, of those left, the ones
with the same name, or of the same shape and not far apart, whose distance is then told. Shapes are compared without
axes of length one.

A permutation keeps the multiset of numbers. It is recognised by an order-free key (count, sum and sum of squares of the
bit patterns), and then proven by trying the orders.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .contents import Value

How = Literal["equal", "rounded", "permuted", "changed"]
MOST_AXES = 5

FAR = 0.5
"""Of two weights under other names that are farther apart than this, relatively, neither stands for the other: the
distance of two that have nothing in common is 1.4 and more."""


@dataclass(frozen=True)
class Pair:
    """One weight of `a` and the one of `b` that stands for it. `distance` is ||b - a|| / ||a||, 0 for equal numbers."""

    a: str
    b: str
    how: How
    shape_a: tuple[int, ...]
    shape_b: tuple[int, ...]
    dtype_a: str
    dtype_b: str
    packed_a: str
    packed_b: str
    distance: float | None
    order: tuple[int, ...] = ()
    """For permuted ones: axis i of `b` is axis `order[i]` of `a`, axes of length one left out."""


@dataclass(frozen=True)
class Lone:
    """A weight that only one file has."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class WeightDifference:
    """All weights of both files, joined."""

    pairs: tuple[Pair, ...]
    only_a: tuple[Lone, ...]
    only_b: tuple[Lone, ...]

    @property
    def same(self) -> bool:
        """Whether both files hold the same numbers in the same form; names do not count."""
        return not self.only_a and not self.only_b and all(_is_same(pair) for pair in self.pairs)


def _is_same(pair: Pair) -> bool:
    forms = ((pair.shape_a, pair.dtype_a, pair.packed_a), (pair.shape_b, pair.dtype_b, pair.packed_b))
    return pair.how == "equal" and forms[0] == forms[1]


@dataclass(frozen=True, eq=False)
class _Weight:
    """A value with its keys. Its numbers are read when they are needed, so that few are in memory at a time."""

    value: Value

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(size for size in self.value.shape if size != 1)

    @cached_property
    def keys(self) -> tuple[Hashable, Hashable, Hashable]:
        numbers = self.value.read()
        with np.errstate(over="ignore"):
            half = numbers.astype(np.float16) + np.float16(0)  # -0 becomes 0
        bits = half.ravel().view(np.uint16).astype(np.uint64)
        free = (bits.size, int(bits.sum()), int((bits * bits).sum()))
        exact, rounded = (hashlib.sha256(np.ascontiguousarray(one).tobytes()).digest() for one in (numbers, half))
        return (self.shape, exact), (self.shape, rounded), (len(self.shape), free)


def weight_difference(a: Sequence[Value], b: Sequence[Value]) -> WeightDifference:
    """Join the weights of two files."""
    left, right = [_Weight(value) for value in a], [_Weight(value) for value in b]
    pairs: list[Pair] = []
    passes: tuple[tuple[How, Callable[[_Weight], Hashable], float], ...] = (
        ("equal", lambda one: one.keys[0], np.inf),
        ("rounded", lambda one: one.keys[1], np.inf),
        ("permuted", lambda one: one.keys[2], np.inf),
        ("changed", lambda one: (one.value.name, one.shape), np.inf),
        ("changed", lambda one: one.shape, FAR),
    )
    for how, key, far in passes:
        for first, second in list(_joined(left, right, key)):
            pair = _pair(first, second, how)
            if pair is not None and (np.inf if pair.distance is None else pair.distance) <= far:
                pairs.append(pair)
                left.remove(first)
                right.remove(second)
    order = {value.name: at for at, value in enumerate(a)}
    return WeightDifference(
        tuple(sorted(pairs, key=lambda pair: order[pair.a])), tuple(map(_lone, left)), tuple(map(_lone, right))
    )


def _joined(
    left: Sequence[_Weight], right: Sequence[_Weight], key: Callable[[_Weight], Hashable]
) -> Iterator[tuple[_Weight, _Weight]]:
    """Those of the same key, equal names first, then in the order of the files."""
    free: dict[Hashable, list[_Weight]] = defaultdict(list)
    for one in right:
        free[key(one)].append(one)
    for one in left:
        found = free.get(key(one))
        if found:
            chosen = next((other for other in found if other.value.name == one.value.name), found[0])
            found.remove(chosen)
            yield one, chosen


def _pair(a: _Weight, b: _Weight, how: How) -> Pair | None:
    """None where a permutation was suspected and there is none."""
    distance, order = 0.0, ()
    if how != "equal":
        first, second = a.value.read().astype(np.float64), b.value.read().astype(np.float64)
        first, second = first.reshape(a.shape), second.reshape(b.shape)
        if how == "permuted":
            order = _order(first.astype(np.float16), second.astype(np.float16))
            if order is None:
                return None
            first = first.transpose(order)
        distance = relative_distance(first, second)
    value, other = a.value, b.value
    forms = (value.shape, other.shape, value.dtype, other.dtype, value.packed, other.packed)
    return Pair(value.name, other.name, how, *forms, distance, order)


def _order(a: NDArray, b: NDArray) -> tuple[int, ...] | None:
    if a.ndim > MOST_AXES:
        return None
    for order in permutations(range(a.ndim)):
        if tuple(a.shape[axis] for axis in order) == b.shape and np.array_equal(a.transpose(order), b):
            return order
    return None


def relative_distance(a: NDArray, b: NDArray) -> float | None:
    """|b − a| over |a|, L2; None where it is no number: infinities, or zeros against something."""
    size, apart = float(np.linalg.norm(a)), float(np.linalg.norm(b - a))
    if apart == 0:
        return 0.0
    found = apart / size if size else np.inf
    return found if np.isfinite(found) else None


def _lone(one: _Weight) -> Lone:
    return Lone(one.value.name, one.value.shape, one.value.dtype)
