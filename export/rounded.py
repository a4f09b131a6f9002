"""What float16 must cost: the folded model with its values rounded, and no converter involved.

Two costs, for two ways in which the executor runs a float16 file. With the weights alone rounded and all arithmetic in
float64, what is left is the price of storing weights in float16: the exact mode's yardstick. With weights, inputs and
the result of each operator rounded and float32 inside an operator, it is what a float16 program declares.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node
from torch.utils._pytree import tree_leaves, tree_map

from ..reparam.proof import run_float64


class _RoundedValues(Interpreter):
    def run_node(self, n: Node) -> Any:
        return tree_map(_half, super().run_node(n))


def _half(value: Any) -> Any:
    return value.half().float() if isinstance(value, Tensor) and value.dtype == torch.float32 else value


def answers_of_rounded_values(module: GraphModule, batch: Tensor) -> list[NDArray]:
    """All outputs of a folded graph, every value on the way rounded to float16."""
    runner = _RoundedValues(module)
    return _answers(lambda picture: tree_leaves(runner.run(picture)), batch)


def answers_of_rounded_weights(module: GraphModule, batch: Tensor) -> list[NDArray]:
    """All outputs of a folded graph in float64, on weights and inputs rounded to float16."""
    rounded = copy.deepcopy(module)
    for tensor in chain(rounded.parameters(), rounded.buffers()):
        tensor.data = _half(tensor.data)
    return _answers(lambda picture: run_float64(rounded, (_half(picture),)), batch)


def _answers(run: Callable[[Tensor], Sequence[Tensor]], batch: Tensor) -> list[NDArray]:
    """One sample at a time, joined along the first axis."""
    with torch.no_grad():
        rows = [run(batch[i : i + 1]) for i in range(len(batch))]
    return [np.concatenate([row[k].numpy() for row in rows]) for k in range(len(rows[0]))]
