"""Compressed weights that the engine expands before it computes: a smaller file, but no less to load at each run."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ..program import Constant, Operation
from .program import Program
from .rule import Place, Rule, at
from .sources import GUIDE

STREAMED_FROM = {
    "constexpr_affine_dequantize": 14,
    "constexpr_blockwise_shift_scale": 15,
    "constexpr_sparse_blockwise_shift_scale": 15,
    "constexpr_lut_to_sparse": 15,
}
"""The first chip that reads these in their stored width."""


def _expanded(program: Program, chip: int) -> Iterator[Place]:
    for made in program.stored.values():
        if chip < (first := STREAMED_FROM.get(made.type, chip)):
            dense, stored = 2 * math.prod(n or 0 for n in program.made_shape(made)), _stored_bytes(program, made)
            told = f"{stored:,} bytes become {dense:,} of float16 before the A{first}"
            yield at(made, told, max(dense - stored, 0))


def _stored_bytes(program: Program, operation: Operation) -> int:
    """What the file holds of it: older operations have their data as attributes, newer ones read constants."""
    given = [one for bound in operation.inputs.values() for one in bound]
    holders = [program.stored[one] for one in given if isinstance(one, str) and one in program.stored]
    constants = [*operation.attributes.values(), *(one for one in given if isinstance(one, Constant))]
    own = sum(-(-math.prod(n or 0 for n in one.type.shape or ()) * _bits(one) // 8) for one in constants)
    return own + sum(_stored_bytes(program, holder) for holder in holders)


def _bits(constant: Constant) -> int:
    return constant.type.dtype.bits if constant.type.dtype else 0


RULES = (
    Rule(
        "expanded-weights",
        "info",
        "Reverse engineering: int8 scales stream from the A14 (M2) on, blockwise scales and sparse palettes from the "
        "A15 (M3) on (its own tables disagree on these); before, they are expanded to float16 when the model loads. "
        "Plain palettes stream on all.",
        (GUIDE,),
        "Palettize in place of quantizing, or raise --chip.",
        _expanded,
    ),
)
