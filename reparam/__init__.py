"""Rewrite a captured model into fewer operators that compute the same, each rewrite exact and proven.

`fold(capture(module, inputs))` hands back a `Folded`: the graph, and the account of what was done. A rule is one file
with `NAME`, `find` and `rewrite`, and one name in `RULES`, the order in which rules run.
"""

from __future__ import annotations

from . import (
    affine_chain,
    affine_next,
    affine_previous,
    attention_scale,
    branches,
    constants,
    conv_bn,
    expanded,
    fixed_instance_norm,
    late_split,
    matmul,
    multiplied,
    no_effect,
    one_group,
    pooled,
    residual,
    serial,
    spelled_norm,
    stored,
    token_map,
    transposed_product,
    transposed_softmax,
    unbound,
)
from .capture import CaptureError, capture
from .cost import Cost, count
from .driver import FoldError, fold
from .module_cost import ModuleCost, by_module
from .rewrite import Folded, Match, Refusal, Rewrite

RULES = (
    no_effect,
    constants,
    stored,
    expanded,
    matmul,
    spelled_norm,
    fixed_instance_norm,
    conv_bn,
    affine_previous,
    attention_scale,
    residual,
    branches,
    affine_next,
    serial,
    affine_chain,
    late_split,
    unbound,
    token_map,
    transposed_softmax,
    transposed_product,
    pooled,
    multiplied,
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
