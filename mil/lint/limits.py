"""Limits of single operators, as the validators of the engine's compiler state them in reverse engineering."""

from __future__ import annotations

from collections.abc import Iterator

from .program import Program
from .rule import Place, Rule, at
from .sources import GUIDE

LONGEST = 2048
"""Longest axis along which the engine finds a largest or smallest element."""


def _products(program: Program, _: int) -> Iterator[Place]:
    for made in program.of_type("linear", "matmul"):
        rank = max(len(program.shape(made, key) or ()) for key in ("x", "y"))
        if rank >= 5:
            yield at(made, f"{made.type} of {rank} axes")


def _arguments(program: Program, _: int) -> Iterator[Place]:
    for made in program.of_type("reduce_argmax", "reduce_argmin"):
        shape, axis = program.shape(made, "x") or (), program.axis(made)
        length = shape[axis] if -len(shape) <= axis < len(shape) else None
        if length is not None and length > LONGEST:
            yield at(made, f"along an axis of {length:,}")


def _pads(program: Program, _: int) -> Iterator[Place]:
    """`pad` has two amounts for each of the last axes."""
    for made in program.of_type("pad"):
        amounts, rank = program.numbers(made, "pad"), len(program.made_shape(made))
        front = amounts[: max(len(amounts) - 4, 0)]
        if rank > 2 and any(front):
            yield at(made, "pads an axis other than height and width")


def _mirrored(program: Program, chip: int) -> Iterator[Place]:
    for made in program.of_type("pad"):
        mode = program.constant(made, "mode")
        if chip < 14 and mode in ("reflect", "replicate"):
            yield at(made, f"pads by {mode}")


RULES = (
    Rule(
        "product-of-rank-5",
        "error",
        "Reverse engineering: linear layers of 5 axes and batched products of 5 axes are rejected.",
        (GUIDE,),
        "Merge the axes in front.",
        _products,
    ),
    Rule(
        "arg-axis-too-long",
        "error",
        "Reverse engineering: argmax and argmin take an axis of at most 2,048; 2,049 is rejected.",
        (GUIDE,),
        "Leave the choice to the app, or take it in two steps.",
        _arguments,
    ),
    Rule(
        "pad-off-the-plane",
        "error",
        "Reverse engineering: only height and width are padded, not channels.",
        (GUIDE,),
        "Concatenate zeros, or let the layer before have the channels.",
        _pads,
    ),
    Rule(
        "mirrored-padding",
        "warning",
        "Reverse engineering: padding by reflection needs the texture engine of the A14 (M2); before it, software.",
        (GUIDE,),
        "Constant padding, or raise --chip.",
        _mirrored,
    ),
)
