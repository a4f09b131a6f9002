"""Rewrite a captured model into fewer operators that compute the same, each rewrite exact and proven.

`fold(capture(module, inputs))` hands back a `Folded`: the graph, and the account of what was done. A rule is one file
with `NAME`, `find` and `rewrite`, and one name in `RULES`, the order in which rules run.
"""

from __future__ import annotations

from . import (
    affine_chain,
    affine_next,
    affine_previous,
    branches,
    conv_bn,
    expanded,
    late_split,
    matmul,
    no_effect,
    one_group,
    residual,
    serial,
    stored,
)
from .capture import CaptureError, capture
from .cost import Cost, count
from .driver import FoldError, fold
from .module_cost import ModuleCost, by_module
from .rewrite import Folded, Match, Refusal, Rewrite

RULES = (
    no_effect,
    stored,
    expanded,
    matmul,
    conv_bn,
    affine_previous,
    residual,
    branches,
    affine_next,
    serial,
    affine_chain,
    late_split,
    one_group,
)

__all__ = [
    "RULES",
    "CaptureError",
    "Cost",
    "FoldError",
    "Folded",
    "Match",
    "ModuleCost",
    "Refusal",
    "Rewrite",
    "by_module",
    "capture",
    "count",
    "fold",
]
