"""The operators of ML Programs, one file per group of Apple's documentation, and the table that finds them by name.

To add an operator: write a function whose parameters are the operator's inputs (`operator.py` says in which form each
arrives) and name it in the table of its file: MOVED if its results are values of its inputs, COMPUTED otherwise.
"""

from __future__ import annotations

from functools import cache

from . import (
    activation,
    classify,
    constexpr,
    control_flow,
    conv,
    detection,
    elementwise_binary,
    elementwise_unary,
    gather,
    linear,
    normalization,
    pool,
    quantization,
    random,
    recurrent,
    reduction,
    resize,
    sampling,
    scatter,
    shape,
    slicing,
    state,
    tensor,
)
from .operator import ByOpset, Function, Operator, define

GROUPS = (
    activation,
    classify,
    constexpr,
    control_flow,
    conv,
    detection,
    elementwise_binary,
    elementwise_unary,
    gather,
    linear,
    normalization,
    pool,
    quantization,
    random,
    recurrent,
    reduction,
    resize,
    sampling,
    scatter,
    shape,
    slicing,
    state,
    tensor,
)
FUNCTIONS: dict[str, tuple[Function | ByOpset, bool]] = {
    name: (entry, moves)
    for group in GROUPS
    for table, moves in ((group.COMPUTED, False), (group.MOVED, True))
    for name, entry in table.items()
}


@cache
def operator(name: str, opset: int) -> Operator | None:
    """The operator `name` as operator set `opset` defines it (5 is iOS15), or None when it is not implemented."""
    if name not in FUNCTIONS:
        return None
    entry, moves = FUNCTIONS[name]
    if callable(entry):
        return define(name, entry, moves=moves)
    known = [first for first in entry if first <= opset]
    return define(name, entry[max(known)], moves=moves) if known else None
