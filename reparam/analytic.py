"""Which regions of a graph random values alone can judge.

Two functions that are analytic in all that they read (sums, products, layers, softmax, GELU) and agree at points drawn
at random are the same everywhere, with probability one: the zeros of an analytic function, if it is not zero itself,
have no volume (Mityagin, arXiv 1512.07276). Functions made of pieces are not such, for no point may lie on one of the
pieces; nor those that are defined for some numbers only, as roots and quotients are, or that soon leave the range of
numbers, as an exponential does. They are judged on values that a model makes. A ReLU is taken as well: its two pieces
meet at zero, and random values lie on both.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence

from torch import Tensor
from torch.fx import Node

from .graph import arguments, is_op
from .into_weights import CONVOLUTIONS, TRANSPOSED
from .no_effect import SHAPED_AS

_ALGEBRA = ("add", "sub", "rsub", "neg", "mul", "sum", "mean", "matmul", "mm", "bmm", "addmm", "baddbmm")
_LAYERS = (
    *(*CONVOLUTIONS, *TRANSPOSED, "linear", "batch_norm", "layer_norm", "group_norm", "rms_norm", "dropout"),
    *("scaled_dot_product_attention", "avg_pool1d", "avg_pool2d", "avg_pool3d"),
    *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"),
)
_SMOOTH = ("sin", "cos", "erf", "sigmoid", "silu", "tanh", "gelu", "softmax")
_VIEWS = (
    *("reshape", "view", *SHAPED_AS, "flatten", "unflatten", "squeeze", "unsqueeze", "expand", "expand_as"),
    *("permute", "transpose", "t", "mT", "slice", "narrow", "select", "split", "split_with_sizes", "chunk", "unbind"),
)
_COPIES = ("clone", "contiguous", "alias", "detach", "to", "cat", "stack", "repeat", "roll", "flip", "constant_pad_nd")
_TAKEN = (*_ALGEBRA, *_LAYERS, *_SMOOTH, *_VIEWS, *_COPIES, "relu", "leaky_relu")


def is_analytic(calls: Sequence[Node], sources: Iterable[Node]) -> bool:
    """Whether `calls`, each after those that it reads, are analytic in `sources`, real numbers all of them.

    What is made of weights alone is a weight, however it is made.
    """
    reached = set(sources)
    if not all(_is_real(node.meta.get("val")) for node in reached):
        return False
    for node in calls:
        if reached.isdisjoint(node.all_input_nodes):
            continue
        taken = node.target is operator.getitem or is_op(node, *_TAKEN) or _is_scaled(node, reached)
        if not taken or not _is_real(node.meta.get("val")):
            return False
        reached.add(node)
    return True


def _is_scaled(node: Node, reached: set[Node]) -> bool:
    """Whether it is a quotient by a fixed number."""
    return is_op(node, "div") and arguments(node)["other"] not in reached and not arguments(node).get("rounding_mode")


def _is_real(value: object) -> bool:
    parts = value if isinstance(value, (list, tuple)) else [value]
    return all(isinstance(part, Tensor) and part.is_floating_point() for part in parts)
