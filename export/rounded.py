"""What a precision must cost: the folded model run in float32 with every value rounded to float16.

Weights, inputs and the result of each operator are rounded; inside an operator the arithmetic is float32. That is what
a float16 ML Program declares, so its error is the yardstick for the artifact's, measured without the converter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.fx import GraphModule, Interpreter
from torch.utils._pytree import tree_leaves, tree_map


class _Rounded(Interpreter):
    def run_node(self, n: torch.fx.Node) -> Any:
        return tree_map(_rounded, super().run_node(n))


def _rounded(value: Any) -> Any:
    return value.half().float() if isinstance(value, Tensor) and value.dtype == torch.float32 else value


def rounded_answers(module: GraphModule, batch: Tensor) -> list[NDArray]:
    """All outputs of a folded graph under float16 rounding, one sample at a time, joined along the first axis."""
    runner = _Rounded(module)
    with torch.no_grad():
        rows = [tree_leaves(runner.run(batch[i : i + 1])) for i in range(len(batch))]
    return [np.concatenate([row[k].numpy() for row in rows]) for k in range(len(rows[0]))]
