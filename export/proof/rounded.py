"""What a precision must cost: the model with its values rounded, or blurred, and no converter involved.

Two costs of float16, for two ways in which the executor runs a float16 file. With the weights alone rounded and all
arithmetic in float64, what is left is the price of storing weights in float16: the exact mode's yardstick. With
weights, inputs and the result of each operator rounded and float32 inside an operator, it is what a float16 program
declares. The nodes of a `Decision`, and the constants that they read, are left in float32, as in the file.

A model that chooses among tokens is also run, unfolded, with noise of that size (`neighbours`): a choice flips where
its margin is smaller than the error, and how many do shows only in several runs. See `validate/choices.py`.

No run holds the weights a second time: each is changed when an operator reads it, and forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import GraphModule, Interpreter, Node
from torch.fx.node import map_arg
from torch.utils._pytree import tree_leaves, tree_map

from ...models.tokens.choose import in_decision
from ...reparam.graph import stored
from ...reparam.proof import run_float64
from ..lowering.legalize import kept_wide, legalized
from .forced import Rounds, rounding, run_alone
from .samples import answers

NOISE = {"float16": 3 * 2.0**-11, "float32": 3 * 2.0**-23}
"""Three times the largest relative error of a rounding to float16; of one to float32 six times, for the sums."""

NEIGHBOURS = 4


class Changed(Interpreter):
    """Runs a graph with every value changed on its way, but in a `Decision`; weights are read when they are needed."""

    def __init__(self, module: GraphModule, change: Callable[[Node, Tensor], Tensor]) -> None:
        super().__init__(module)
        self.change = change
        self.decided = decisions(module)

    def run_node(self, n: Node) -> Any:
        if n.op == "get_attr":
            return None
        value = super().run_node(n)
        return value if n in self.decided else self._changed(n, value)

    def map_nodes_to_values(self, args: Any, n: Node) -> Any:
        return map_arg(args, partial(self._value, n))

    def _value(self, reader: Node, node: Node) -> Any:
        if node.op != "get_attr":
            return self.env[node]
        value = self.fetch_attr(str(node.target))
        return value if reader in self.decided else self._changed(node, value)

    def _changed(self, node: Node, value: Any) -> Any:
        def changed(leaf: Any) -> Any:
            return self.change(node, leaf) if isinstance(leaf, Tensor) and leaf.dtype == torch.float32 else leaf

        return tree_map(changed, value)


def answers_of_rounded_values(module: GraphModule, inputs: Sequence[Tensor], size: int = 1) -> list[NDArray]:
    """All outputs of a folded graph, every value on the way rounded to float16; `size` samples at a time."""
    return _answers(module, lambda node, value: _half(value), inputs, size)


def answers_of_rounded_weights(module: GraphModule, inputs: Sequence[Tensor], size: int = 1) -> list[NDArray]:
    """All outputs of a folded graph in float64, on weights and inputs rounded to float16."""
    read = [weight for node in decisions(module) for weight in node.all_input_nodes if weight.op == "get_attr"]
    wide = {id(stored(module, weight)) for weight in read}

    def rounded(weight: Tensor) -> Tensor:
        return weight if id(weight) in wide else _half(weight)

    return answers(lambda *given: run_float64(module, tuple(map(_half, given)), weight=rounded), inputs, size)


def answers_of_mixed(
    program: ExportedProgram, float32: Sequence[str], rounds: Rounds, inputs: Sequence[Tensor], size: int = 1
) -> list[NDArray]:
    """All outputs of a program rounded to float16, but for the nodes of its legalized form named in `float32`."""
    legal = legalized(program, precision="float16", float32=float32)
    wide = kept_wide(legal, float32)
    return answers(lambda *given: run_alone(legal, given, rounding("float16", rounds, wide)), inputs, size)


def neighbours(
    module: GraphModule, inputs: Sequence[Tensor], precision: str, size: int = 1, *, weights_only: bool = False
) -> list[list[NDArray]]:
    """All outputs of NEIGHBOURS runs of a captured graph with noise as large as the rounding of `precision`.

    Every value is blurred but those inside a `Decision`, or with `weights_only` the weights and inputs alone.
    """
    still = {node for node in module.graph.nodes if weights_only and node.op == "call_function"}

    def run(seed: int) -> list[NDArray]:
        draw = torch.Generator().manual_seed(seed)

        def blur(node: Node, value: Tensor) -> Tensor:
            return value if node in still else blurred(value, NOISE[precision], draw)

        return _answers(module, blur, inputs, size)

    return [run(seed) for seed in range(NEIGHBOURS)]


def blurred(value: Tensor, size: float, draw: torch.Generator) -> Tensor:
    """`value` with relative noise up to `size`; whole numbers, exact in every precision, stay (masks, positions)."""
    noise = torch.rand(value.shape, generator=draw).mul_(2 * size).add_(1 - size)
    return torch.where(value == value.round(), value, value * noise)


def decisions(module: GraphModule) -> set[Node]:
    """The nodes of choices, which stay in float32 in a float16 file."""
    return {node for node in module.graph.nodes if in_decision(node)}


def _half(value: Tensor) -> Tensor:
    return value.half().float() if value.dtype == torch.float32 else value


def _answers(
    module: GraphModule, change: Callable[[Node, Tensor], Tensor], inputs: Sequence[Tensor], size: int
) -> list[NDArray]:
    runner = Changed(module, change)
    return answers(lambda *given: tree_leaves(runner.run(*given)), inputs, size)
