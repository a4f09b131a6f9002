"""On how small a piece of its inputs a region of a graph proves as much as on all of them.

Where every operator treats all positions of a picture alike, each output is the same function of the window of inputs
under it, whatever its place; only windows that reach over a border differ. With windows of `extent` pixels, `step`
pixels from one to the next (as receptive fields are computed, doi 10.23915/distill.00021), a piece of
`extent + step - 1` pixels per side has a window inside, and one in every position across each border, if it has as
many pixels as the whole modulo the step: then the last windows lie as they do at the far border of the whole. So what
holds on random values there holds everywhere. The same goes for the rows of tokens, whose windows are one row.

Anything that knows its place, a weight with positions, a reshape, an attention, an average of all, rules this out.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from .graph import arguments, is_op, shape

_BY_ELEMENT = (
    *("add", "sub", "neg", "mul", "div", "dropout", "clone", "contiguous", "alias", "detach", "to"),
    *("relu", "leaky_relu", "hardtanh", "hardswish", "hardsigmoid", "gelu", "sigmoid", "silu", "tanh", "clamp"),
)
_OF_CHANNELS = ("cat", "split", "split_with_sizes", "chunk")
"""Where they take apart or join the channels of pictures, whose axis is 1."""

_OF_ROWS = ("linear", "layer_norm")


@dataclass(frozen=True)
class Window:
    """How much of its inputs an output reads: `extent` positions per axis, the next output `step` further.

    `of_rows`: all axes but the last are positions, as of tokens; else the last two, as of a picture (N, C, H, W).
    """

    of_rows: bool
    extent: int
    step: int

    def shape(self, whole: Sequence[int]) -> tuple[int, ...]:
        """The piece of an input of this shape that is enough."""
        if self.of_rows:
            return (*map(self._length, whole[:-1]), whole[-1])
        return (*whole[:-2], *map(self._length, whole[-2:]))

    def of(self, value: Tensor) -> Tensor:
        """That piece of a value, at its first corner."""
        return value[tuple(slice(length) for length in self.shape(value.shape))]

    def _length(self, whole: int) -> int:
        enough = max(self.extent + self.step - 1, 2)
        return min(whole, enough + (whole - enough) % self.step)


def window(calls: Sequence[Node], sources: Sequence[Node]) -> Window | None:
    """The largest window of `calls`, each after those that it reads; None where positions may matter.

    `sources` are all values that they read from outside. Weights are none, nor is what is made of weights alone.
    """
    of_rows = any(is_op(node, *_OF_ROWS) for node in calls)
    alike = _treats_rows_alike if of_rows else _treats_pixels_alike
    if not _lie_on_one_grid(sources, of_rows):
        return None
    stored: set[Node] = set()
    reached: dict[Node, tuple[int, int]] = dict.fromkeys(sources, (1, 1))
    for node in calls:
        weights = [read for read in node.all_input_nodes if read.op == "get_attr" or read in stored]
        read = [reached[value] for value in node.all_input_nodes if value in reached]
        if not read and len(weights) == len(node.all_input_nodes):
            stored.add(node)
            continue
        if len(weights) + len(read) < len(node.all_input_nodes) or not alike(node, weights):
            return None
        reached[node] = _reach(node, read)
    extents, steps = zip(*reached.values(), strict=True) if reached else ((1,), (1,))
    return Window(of_rows, max(extents), max(steps))


def _reach(node: Node, read: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """(extent, step) of the node's window on the sources, from those of what it reads."""
    extent, step = map(max, zip(*read, strict=True))
    if not is_op(node, "conv2d"):
        return extent, step
    given = arguments(node)
    taps = max(gap * (taps - 1) for gap, taps in zip(_pair(given["dilation"]), shape(given["weight"])[2:], strict=True))
    return extent + taps * step, step * max(_pair(given["stride"]))


def _pair(value: Sequence[int]) -> tuple[int, ...]:
    return tuple(value) * 2 if len(value) == 1 else tuple(value)


def _lie_on_one_grid(sources: Sequence[Node], of_rows: bool) -> bool:
    """Whether the positions of all sources are the same ones; a single pixel, as of a gate, is beside every one."""
    values = [node.meta["val"] for node in sources]
    if not all(isinstance(value, Tensor) for value in values):
        return False
    if of_rows:
        return all(value.dim() >= 2 for value in values) and len({_traced(value.shape[:-1]) for value in values}) <= 1
    grids = {_traced(value.shape[-2:]) for value in values}
    return all(value.dim() == 4 for value in values) and len(grids - {(1, 1)}) <= 1


def _treats_pixels_alike(node: Node, weights: Sequence[Node]) -> bool:
    if is_op(node, "conv2d"):
        return _is_stored(node, weights) and len(set(_pair(arguments(node)["stride"]))) == 1
    if is_op(node, *_OF_CHANNELS):
        return arguments(node)["dim"] in (1, -3) and not weights
    if is_op(node, "batch_norm") or node.target is operator.getitem:
        return True
    return is_op(node, *_BY_ELEMENT) and all(set(shape(weight)[-2:]) <= {1} for weight in weights)


def _treats_rows_alike(node: Node, weights: Sequence[Node]) -> bool:
    if is_op(node, "linear"):
        return _is_stored(node, weights)
    if is_op(node, "layer_norm"):
        return len(arguments(node)["normalized_shape"]) == 1
    return is_op(node, *_BY_ELEMENT) and all(set(shape(weight)[:-1]) <= {1} for weight in weights)


def _is_stored(layer: Node, weights: Sequence[Node]) -> bool:
    given = arguments(layer)
    return all(part is None or part in weights for part in (given["weight"], given["bias"]))


def _traced(lengths: Sequence[Any]) -> tuple[Any, ...]:
    """Lengths as they were in the example; `int()` of an open one would close it for good."""
    return tuple(length.node.hint if isinstance(length, torch.SymInt) else length for length in lengths)
