"""Why one file is faster or smaller than the other, as far as it can be counted: the weightiest reason first.

Nothing here is measured. The order is that of what usually decides: other inputs, more arithmetic, wider numbers, norms
that were not folded, operators that one file has as one and the other spells out, copies, weights. Each reason has its
figures, so that a reader may disagree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from ..artifact import NotRun
from .contents import Contents
from .kinds import MOVES, WORK
from .weights import WeightDifference

NOTABLE = 0.02
"""A difference below this share is not a reason."""

SPELLED_OUT: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("batch_norm", ()),
    ("layer_norm", ("reduce_mean", "sub", "square", "pow", "sqrt", "rsqrt", "real_div")),
    ("gelu", ("erf", "tanh")),
    ("silu", ("sigmoid",)),
    ("hardswish", ("sigmoid_hard", "clip")),
    ("softmax", ("exp", "reduce_sum")),
    ("scaled_dot_product_attention", ("softmax", "matmul")),
    ("linear", ("matmul",)),
    ("reduce_l2_norm", ("reduce_sum", "square", "sqrt", "pow")),
)
"""An operator, and some of those by which it is written where it is not one."""


@dataclass(frozen=True)
class Totals:
    """Sums over a file; None where they cannot be counted (an open shape)."""

    operations: int
    parameters: int
    bytes: int
    macs: int | None
    weight_bytes: int | None
    activation_bytes: int | None


@dataclass(frozen=True)
class Reason:
    """`favours` is the file for which it speaks: "a", "b", or "" where it cannot be said."""

    favours: Literal["a", "b", ""]
    text: str


def totals(contents: Contents) -> Totals:
    """The sums of one file."""
    cost = None if isinstance(contents.cost, NotRun) else contents.cost
    return Totals(
        operations=len(contents.nodes),
        parameters=sum(value.elements for value in contents.weights),
        bytes=contents.artifact.bytes,
        macs=None if cost is None else sum(layer.macs for layer in cost),
        weight_bytes=None if cost is None else sum(layer.weight_bytes for layer in cost),
        activation_bytes=None if cost is None else sum(layer.read_bytes + layer.written_bytes for layer in cost),
    )


def reasons(a: Contents, b: Contents, weights: WeightDifference) -> tuple[Reason, ...]:
    """The reasons, weightiest first."""
    makers: tuple[Callable[[Contents, Contents], Iterator[Reason]], ...] = (
        _inputs,
        _arithmetic,
        _wide,
        _fused,
        _moves,
        _activations,
        _operations,
    )
    found = [reason for make in makers for reason in make(a, b)]
    return (*found, *_stored(a, b, weights))


def _favours(a: float, b: float) -> Literal["a", "b"]:
    """The smaller."""
    return "a" if a < b else "b"


def _differ(a: float | None, b: float | None) -> bool:
    return a is not None and b is not None and abs(a - b) > NOTABLE * max(a, b)


def _times(a: float, b: float) -> str:
    low, high = sorted((a, b))
    return f"{high / low:.2f} times" if low else "all against none"


def _inputs(a: Contents, b: Contents) -> Iterator[Reason]:
    for first, second in zip(a.artifact.inputs, b.artifact.inputs, strict=False):
        sizes = [sorted(size for size in spec.shape[1:] if isinstance(size, int)) for spec in (first, second)]
        if sizes[0] != sizes[1]:
            shapes = ["×".join(map(str, spec.shape)) for spec in (first, second)]
            yield Reason("", f"they do not take the same input: {first.name} {shapes[0]}, {second.name} {shapes[1]}")
        opened = [any(isinstance(size, str) for size in spec.shape) for spec in (first, second)]
        if opened[0] != opened[1]:
            yield Reason("a" if opened[1] else "b", f"the shape of {first.name} is open in {'a' if opened[0] else 'b'}")


def _arithmetic(a: Contents, b: Contents) -> Iterator[Reason]:
    first, second = totals(a).macs, totals(b).macs
    if first is not None and second is not None and _differ(first, second):
        text = f"{first:,} multiply-accumulates in a, {second:,} in b ({_times(first, second)})"
        yield Reason(_favours(first, second), text)


def _wide(a: Contents, b: Contents) -> Iterator[Reason]:
    """Float32 results beside float16 ones; casts are the border between them."""
    wide = [
        sum(node.dtype.startswith("float32") or node.dtype == "float" for node in _computing(one)) for one in (a, b)
    ]
    sizes = [max(len(list(_computing(one))), 1) for one in (a, b)]
    shares = [count / size for count, size in zip(wide, sizes, strict=True)]
    if abs(shares[0] - shares[1]) > NOTABLE:
        told = ", ".join(f"{count} of {size} in {name}" for count, size, name in zip(wide, sizes, "ab", strict=True))
        yield Reason(_favours(shares[0], shares[1]), f"results computed in float32: {told}")


def _computing(contents: Contents) -> Iterator:
    return (node for node in contents.nodes if node.kind != "cast")


def _fused(a: Contents, b: Contents) -> Iterator[Reason]:
    counts = [Counter(node.kind for node in contents.nodes) for contents in (a, b)]
    if (norms := [count["batch_norm"] for count in counts]) and norms[0] != norms[1]:
        yield Reason(_favours(*norms), f"batch norms that were not folded: {norms[0]} in a, {norms[1]} in b")
    for whole, parts in SPELLED_OUT[1:]:
        for one, other, name, far in ((counts[0], counts[1], "a", "b"), (counts[1], counts[0], "b", "a")):
            more = [part for part in parts if other[part] > one[part]]
            if one[whole] > other[whole] and more:
                spelled = " and ".join(f"{other[part] - one[part]} more {part}" for part in more)
                favoured: Literal["a", "b"] = "a" if name == "a" else "b"
                yield Reason(
                    favoured,
                    f"{one[whole] - other[whole]} × {whole} as one operation in {name}; {far} has {spelled}",
                )


def _moves(a: Contents, b: Contents) -> Iterator[Reason]:
    moved = [[node for node in contents.nodes if node.kind in MOVES] for contents in (a, b)]
    if len(moved[0]) != len(moved[1]):
        kinds = [Counter(node.kind for node in nodes) for nodes in moved]
        told = ", ".join(
            f"{kind} {kinds[0][kind]} and {kinds[1][kind]}"
            for kind in dict.fromkeys([*kinds[0], *kinds[1]])
            if kinds[0][kind] != kinds[1][kind]
        )
        text = f"operations that only move numbers: {len(moved[0])} in a, {len(moved[1])} in b ({told})"
        yield Reason(_favours(len(moved[0]), len(moved[1])), text)


def _activations(a: Contents, b: Contents) -> Iterator[Reason]:
    first, second = totals(a).activation_bytes, totals(b).activation_bytes
    if first is not None and second is not None and _differ(first, second):
        text = f"activations read and written: {first / 1e6:.1f} MB in a, {second / 1e6:.1f} MB in b"
        yield Reason(_favours(first, second), f"{text} ({_times(first, second)}), if no engine fused any")


def _operations(a: Contents, b: Contents) -> Iterator[Reason]:
    works = [sum(node.kind in WORK for node in contents.nodes) for contents in (a, b)]
    if works[0] != works[1]:
        text = f"layers that multiply (convolutions, products): {works[0]} in a, {works[1]} in b"
        yield Reason(_favours(*works), text)
    if _differ(len(a.nodes), len(b.nodes)):
        yield Reason(_favours(len(a.nodes), len(b.nodes)), f"operations: {len(a.nodes)} in a, {len(b.nodes)} in b")


def _stored(a: Contents, b: Contents, weights: WeightDifference) -> Iterator[Reason]:
    sizes = [sum(value.bytes for value in contents.weights) for contents in (a, b)]
    if _differ(*sizes):
        kinds = [
            Counter(value.packed or value.dtype for value in contents.weights).most_common(1) for contents in (a, b)
        ]
        forms = [kind[0][0] if kind else "none" for kind in kinds]
        text = f"weights: {sizes[0] / 1e6:.2f} MB ({forms[0]}) in a, {sizes[1] / 1e6:.2f} MB ({forms[1]}) in b"
        yield Reason(_favours(*sizes), text)
    changed = [pair for pair in weights.pairs if pair.how == "changed"]
    if changed or weights.only_a or weights.only_b:
        lone = f"{len(weights.only_a)} are in a alone, {len(weights.only_b)} in b"
        text = f"{len(changed)} hold other numbers, {lone}"
        yield Reason("", f"weights that are not the same (another checkpoint, or other folding): {text}")
