"""Which node of a program does a tensor stand for, when its name does not say? One of its shape and with its values.

The program is run once in float32, and of each value a sketch is kept: PLACES of its elements, evenly spread. A tensor
of the artifact is joined to the node with the nearest sketch, if that is nearer than NEAR. Behind a coarse fault
nothing is near, so an artifact without our names can be followed only to the layer up to which all is right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram
from torch.fx import Node

from ..saved.points import Opened, in_order
from .forced import run_free

PLACES = 256
NEAR = 0.2
"""Relative L2 distance of two sketches that may still be one value: an error that has grown, but not another layer."""

Sketch = NDArray[np.float64]


def join_by_value(
    opened: Opened, program: ExportedProgram, inputs: Sequence[torch.Tensor], joined: Mapping[str, Node]
) -> dict[str, Node]:
    """Tensor name → node, for tensors and nodes that are not in `joined`; each node is used once."""
    rest = [tensor for tensor in opened.tensors if tensor.name not in joined]
    free = _sketches(program, inputs, set(joined.values()))
    found: dict[str, Node] = {}
    for name, value in in_order(opened, rest):
        candidates = free.get(tuple(value.shape), {})
        sketch = _sketch(np.asarray(value, np.float64))
        near = {node: _distance(sketch, own) for node, own in candidates.items()}
        if near and min(near.values()) < NEAR:
            found[name] = min(near, key=near.__getitem__)
            del candidates[found[name]]
    return found


def makes_floats(node: Node) -> bool:
    """Whether the node is an operator that gives one tensor of floats."""
    value = node.meta.get("val")
    return node.op == "call_function" and isinstance(value, torch.Tensor) and value.is_floating_point()


def shape_of(node: Node) -> tuple[int, ...]:
    """The node's shape, an open size as 1."""
    return tuple(size if isinstance(size, int) else 1 for size in node.meta["val"].shape)


def _sketches(
    program: ExportedProgram, inputs: Sequence[torch.Tensor], taken: set[Node]
) -> dict[tuple[int, ...], dict[Node, Sketch]]:
    """Shape → node → sketch, in the program's order."""
    found: dict[tuple[int, ...], dict[Node, Sketch]] = {}

    def see(node: Node, value: Any) -> None:
        if makes_floats(node) and node not in taken:
            found.setdefault(tuple(value.shape), {})[node] = _sketch(value.double().numpy())

    run_free(program, inputs, see)
    return found


def _sketch(value: Sketch) -> Sketch:
    flat = value.reshape(-1)
    return flat[np.linspace(0, len(flat) - 1, min(PLACES, len(flat))).astype(int)]


def _distance(sketch: Sketch, own: Sketch) -> float:
    with np.errstate(all="ignore"):
        found = float(np.linalg.norm(sketch - own) / np.linalg.norm(own))
    return found if np.isfinite(found) else np.inf
