"""Which results need no rounding of their own, because rounding commutes with the only operator that reads them.

round(relu(x)) = relu(round(x)), and so for clips: rounding moves behind them, where the runtime can still fuse them
with a convolution.
"""

from __future__ import annotations

from ..steps import BlockPlan

COMMUTE = {"relu", "relu6", "clip", "threshold"}
"""Operators that commute with rounding."""


def passed_by_rounding(plan: BlockPlan) -> set[str]:
    """Results read by one step only, which commutes with rounding: they need not be rounded before it."""
    readers: dict[str, list[str]] = {}
    for step in plan.steps:
        for name in step.operation.reads():
            readers.setdefault(name, []).append(step.operation.type)
    return {n for n, types in readers.items() if len(types) == 1 and types[0] in COMMUTE and n not in plan.outputs}
