"""Number formats: the engine computes in float16. What a program declares otherwise, another unit computes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..program import Operation
from .program import Program
from .rule import Place, Rule, at
from .sources import APPLE_RULES, APPLE_TYPES, GUIDE

WIDE = ("fp32", "fp64", "bf16")
MASKS = ("add", "sub", "select", "mul", "maximum", "minimum", "scaled_dot_product_attention", "concat", "softmax")
"""Operations whose constants are scanned for an infinity: where masks are used. Weights of layers are not read."""


def _wide(program: Program, _: int) -> Iterator[Place]:
    """Casts are the border of the float16 part, and belong to it."""
    computed = [tensor for tensor in program.tensors if tensor.operator not in ("input", "cast")]
    floats = [tensor for tensor in computed if tensor.dtype.startswith(("fp", "bf"))]
    wide = [tensor for tensor in floats if tensor.dtype in WIDE]
    if wide and len(wide) == len(floats):
        yield Place("", "program", f"all {len(wide)} float results are {wide[0].dtype}")
    else:
        yield from (Place(tensor.name, tensor.operator, f"{tensor}, not float16") for tensor in wide)


def _integers(program: Program, chip: int) -> Iterator[Place]:
    for made in program.of_type("cast"):
        made_types = [output.type.dtype.name for output in made.outputs if output.type.dtype is not None]
        if chip < 14 and "int32" in made_types:
            yield at(made, "casts to int32")


def _infinite(program: Program, _: int) -> Iterator[Place]:
    for made in program.of_type(*MASKS):
        keys = [key for key in made.inputs if _has_minus_infinity(program, made, key)]
        if keys:
            yield at(made, f"the constant {keys[0]!r} contains -inf")


def _has_minus_infinity(program: Program, operation: Operation, key: str) -> bool:
    value = program.constant(operation, key)
    return isinstance(value, np.ndarray) and value.dtype.kind == "f" and bool(np.isneginf(value).any())


RULES = (
    Rule(
        "float32-result",
        "error",
        "Apple's guidance: the engine takes float16, int8 and int16; float32 falls back to GPU or CPU, and every "
        "change of unit costs a transfer.",
        (APPLE_RULES, APPLE_TYPES, GUIDE),
        "Float16, with float32 only for what overflows.",
        _wide,
        "export-model --precision float16, the default.",
    ),
    Rule(
        "int32-cast",
        "error",
        "Measured by reverse engineering: on the A13 and M1 a cast to int32 is rejected.",
        (GUIDE,),
        "Keep indices out of the program, or in 16 bits.",
        _integers,
    ),
    Rule(
        "minus-infinity",
        "warning",
        "Apple's guidance: in a softmax the engine does not handle -inf right; a mask uses -40,000, whose exponential "
        "is zero as well.",
        (APPLE_RULES,),
        "masked_fill(mask, -4e4) in place of -inf.",
        _infinite,
    ),
)
