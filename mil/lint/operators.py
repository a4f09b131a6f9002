"""Operators without a place on the engine, on any of its generations or on the older ones.

The tables are those of the reverse-engineered guide: 187 operations, measured on M1, M2 and M5, the rest predicted. In
MIL's names.
"""

from __future__ import annotations

from collections.abc import Iterator

from .program import Program
from .rule import Place, Rule, at
from .sources import GUIDE, NOTES

NOWHERE = (
    *("lstm", "gru", "rnn"),
    *("scatter", "scatter_along_axis", "scatter_nd"),
    *("mod", "logical_and", "logical_or", "logical_xor", "reduce_prod"),
    *("one_hot", "non_zero", "shape", "band_part", "sliding_windows", "reverse_sequence"),
    *("tan", "asin", "acos", "sinh", "cosh", "asinh", "acosh", "atanh"),
    *("random_normal", "random_bernoulli", "random_categorical"),
    *("make_list", "list_read", "list_write", "list_gather", "list_scatter", "list_length"),
)
ELSEWHERE = {
    "cond": "has no code of its own on the engine",
    "while_loop": "has no code of its own on the engine",
    "non_maximum_suppression": "runs on CPU or GPU",
    "custom_layer": "has only CPU and GPU implementations",
}
FIRST_CHIP = {"crop_resize": 14, "resample": 14, "affine": 14, "topk": 14, "argsort": 14, "sin": 15, "cos": 15}
"""Rejected on chips before this one."""

FIRST_NATIVE = {
    **dict.fromkeys(("resize", "resize_bilinear", "resize_nearest_neighbor"), 14),
    **dict.fromkeys(("upsample_bilinear", "upsample_nearest_neighbor"), 14),
    **dict.fromkeys(("gather", "gather_along_axis", "gather_nd"), 14),
    **dict.fromkeys(("reduce_argmin", "random_uniform"), 15),
}
"""Before this chip they take a path in software, which rounds otherwise or takes few shapes."""


def _nowhere(program: Program, _: int) -> Iterator[Place]:
    return (at(made, f"{made.type} has no path on the engine") for made in program.of_type(*NOWHERE))


def _elsewhere(program: Program, _: int) -> Iterator[Place]:
    return (at(made, f"{made.type} {ELSEWHERE[made.type]}") for made in program.of_type(*ELSEWHERE))


def _later(program: Program, chip: int) -> Iterator[Place]:
    for made in program.of_type(*FIRST_CHIP):
        if chip < (first := FIRST_CHIP[made.type]):
            yield at(made, f"{made.type} needs an A{first}")


def _software(program: Program, chip: int) -> Iterator[Place]:
    for made in program.of_type(*FIRST_NATIVE):
        if chip < (first := FIRST_NATIVE[made.type]):
            yield at(made, f"{made.type} is done in software before the A{first}")


RULES = (
    Rule(
        "no-engine-path",
        "error",
        "Reverse engineering: these operators run on no generation of the engine; developers' notes say the same of "
        "recurrent layers.",
        (GUIDE, NOTES),
        "Rewrite: a logical and as a minimum, a product as exp of a sum of logs, an unrolled loop for a recurrent "
        "layer, constants for shapes and bands that are known.",
        _nowhere,
    ),
    Rule(
        "off-the-engine",
        "error",
        "Control flow, non-maximum suppression and custom layers are left to CPU or GPU.",
        (GUIDE, NOTES),
        "Put them at the end of the model, or into the app, so that the rest stays in one piece.",
        _elsewhere,
    ),
    Rule(
        "needs-a-later-chip",
        "error",
        "Reverse engineering: sampling and sorting need the texture engine of the A14 (M2), sine and cosine an A15.",
        (GUIDE,),
        "Compute it outside the model, or raise --chip to the oldest chip that is meant.",
        _later,
    ),
    Rule(
        "software-before-a-chip",
        "warning",
        "Reverse engineering: resizing and gathering have hardware from the A14 (M2) on; before it a software path "
        "with other rounding, or only for small shapes.",
        (GUIDE,),
        "Upsample by a transposed convolution or a pixel shuffle, or raise --chip.",
        _software,
    ),
)
