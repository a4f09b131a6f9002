"""Rewrite a captured model into fewer operators that compute the same, each rewrite exact and proven.

`fold(capture(module, inputs))` hands back a `Folded`: the graph, and the account of what was done. A rule is one file
with `NAME`, `find` and `rewrite`, and one name in `RULES`, the order in which rules run.
"""

from __future__ import annotations

from . import affine_next, conv_bn, residual, stored
from .capture import CaptureError, capture
from .cost import Cost, count
from .driver import FoldError, fold
from .rewrite import Folded, Match, Refusal, Rewrite

RULES = (stored, conv_bn, residual, affine_next)

__all__ = [
    "RULES",
    "CaptureError",
    "Cost",
    "FoldError",
    "Folded",
    "Match",
    "Refusal",
    "Rewrite",
    "capture",
    "count",
    "fold",
]
