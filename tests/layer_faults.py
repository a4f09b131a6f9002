"""Single faults in saved ONNX and Core ML files, each with the tensor at which it sits."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import mil_mutations
import numpy as np
import onnx
from fuseport.export.saved.points import Tensor
from onnx import numpy_helper

CORE_ML = (
    mil_mutations.rows_swapped,
    mil_mutations.columns_swapped,
    mil_mutations.transposed,
    mil_mutations.mirrored,
    mil_mutations.bias_lost,
    mil_mutations.axis_changed,
    mil_mutations.flag_flipped,
    mil_mutations.epsilon_changed,
    mil_mutations.activation_replaced,
    mil_mutations.operands_swapped,
    mil_mutations.parts_swapped,
    mil_mutations.residual_dropped,
    mil_mutations.operator_replaced,
)

Graph = Any
Fault = Callable[[Graph, random.Random], str | None]


def _weights(graph: Graph, smallest_rank: int = 1) -> list[tuple[Any, Any, np.ndarray]]:
    """(node, initializer, value) of each float weight, with the node that reads it."""
    stored = {entry.name: entry for entry in graph.initializer}
    return [
        (node, stored[name], numpy_helper.to_array(stored[name]).copy())
        for node in graph.node
        for name in node.input
        if name in stored and stored[name].data_type == 1 and len(stored[name].dims) >= smallest_rank
    ]


def _stored(entry: Any, value: np.ndarray) -> None:
    entry.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), entry.name))


def scaled(graph: Graph, chance: random.Random) -> str | None:
    node, entry, value = chance.choice(_weights(graph))
    _stored(entry, value * np.float32(1.1))
    return node.output[0]


def rows(graph: Graph, chance: random.Random) -> str | None:
    node, entry, value = chance.choice([found for found in _weights(graph, 2) if found[2].shape[0] > 1])
    a, b = chance.sample(range(len(value)), 2)
    value[[a, b]] = value[[b, a]]
    _stored(entry, value)
    return node.output[0]


def transposed(graph: Graph, chance: random.Random) -> str | None:
    square = [found for found in _weights(graph, 2) if found[2].shape[0] == found[2].shape[1] > 1]
    if not square:
        return None
    node, entry, value = chance.choice(square)
    _stored(entry, value.swapaxes(0, 1))
    return node.output[0]


def dilated(graph: Graph, chance: random.Random) -> str | None:
    """A 3 x 3 convolution with its taps apart, padded so that its shape stays."""
    sites = [node for node in graph.node if node.op_type == "Conv" and list(_ints(node, "kernel_shape")) == [3, 3]]
    node = chance.choice(sites)
    (field,) = (attribute for attribute in node.attribute if attribute.name == "dilations")
    field.ints[:] = [2, 2]
    (field,) = (attribute for attribute in node.attribute if attribute.name == "pads")
    field.ints[:] = [size + 1 for size in field.ints]
    return node.output[0]


def _ints(node: Any, name: str) -> Sequence[int]:
    return next((attribute.ints for attribute in node.attribute if attribute.name == name), ())


def epsilon(graph: Graph, chance: random.Random) -> str | None:
    sites = [(node, field) for node in graph.node for field in node.attribute if field.name == "epsilon"]
    if not sites:
        return None
    node, field = chance.choice(sites)
    field.f = 0.1
    return node.output[0]


def residual(graph: Graph, chance: random.Random) -> str | None:
    constant = {entry.name for entry in graph.initializer}
    node = chance.choice([node for node in graph.node if node.op_type == "Add" and not constant & set(node.input)])
    kept = chance.choice(list(node.input))
    node.op_type, node.input[:] = "Identity", [kept]
    return node.output[0]


def activation(graph: Graph, chance: random.Random) -> str | None:
    node = chance.choice([node for node in graph.node if node.op_type in ("Relu", "Sigmoid", "Erf", "Tanh")])
    node.op_type = "Sigmoid" if node.op_type != "Sigmoid" else "Relu"
    return node.output[0]


ONNX: tuple[Fault, ...] = (scaled, rows, transposed, dilated, epsilon, residual, activation)


def break_file(good: Path, bad: Path, seed: int) -> tuple[str, list[str]] | None:
    """Copy `good` to `bad` with one fault; its kind and the tensors at which it sits, or None if there is no place."""
    try:
        return _broken(good, bad, seed, random.Random(seed))
    except IndexError:  # a choice among no places
        return None


def _broken(good: Path, bad: Path, seed: int, chance: random.Random) -> tuple[str, list[str]] | None:
    if good.suffix == ".onnx":
        model = onnx.load(str(good))
        fault = ONNX[seed % len(ONNX)]
        place = fault(model.graph, chance)
        onnx.save(model, str(bad))
        return (fault.__name__, [place]) if place else None
    shutil.rmtree(bad, ignore_errors=True)
    shutil.copytree(good, bad)
    saved = mil_mutations.read(bad)
    before = mil_mutations.meaning(saved)
    mutation = CORE_ML[seed % len(CORE_ML)]
    if mutation(saved, chance) is None:
        return None
    mil_mutations.write(saved, bad)
    changed = [new[-1] for old, new in zip(before, mil_mutations.meaning(saved), strict=True) if old != new]
    return mutation.__name__, [name for outputs in changed for name, _ in outputs]


def readers(places: Collection[str], tensors: Sequence[Tensor], compared: Collection[str]) -> set[str]:
    """The compared tensors at `places`, or the first compared ones that are computed from those."""
    hidden, found = set(places) - set(compared), set(places) & set(compared)
    for tensor in tensors:
        if hidden & set(tensor.reads):
            (found if tensor.name in compared else hidden).add(tensor.name)
    return found
