"""The tensors of a saved artifact, by name and in order, and their values for an input, as they are computed.

One run of the file gives them all, one after the other: a large network's tensors are never in memory together, and a
comparison costs what the forwards cost.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import mil
from ..artifact import Artifact
from ..formats import to_onnx
from . import onnx_stream

HELD_BYTES = 256 * 2**20
"""Values that are held at a time: those of one piece of an ONNX graph, and those that wait for their turn."""

BYTES = 4
"""Of one value in an ONNX file, nearly always."""

Values = Iterator[tuple[str, NDArray]]


@dataclass(frozen=True)
class Tensor:
    """One value of an artifact: its name, the operator that makes it, its shape (() if unknown) and what it reads."""

    name: str
    operator: str
    shape: tuple[int, ...]
    reads: tuple[str, ...]
    module: str


@dataclass(frozen=True)
class Opened:
    """An artifact's float tensors in the order of its operators, and a function that computes those asked for, which
    gives each with its name as it is made, and stops behind the last."""

    tensors: tuple[Tensor, ...]
    stream: Callable[[Collection[str]], Values]


def open_points(
    artifact: Artifact, feed: Mapping[str, NDArray], *, mode: mil.Mode = "exact", limit: int = HELD_BYTES
) -> Opened:
    """Open `artifact` for `feed` (one sample, laid out as it takes it). `mode` is the executor's; ONNX has one.

    An ONNX file gives about `limit` bytes of values together; the executor gives them one by one.
    """
    if artifact.format == to_onnx.NAME:
        return _open_onnx(artifact.path, feed, limit)
    return _open_core_ml(artifact, feed, mode)


def in_order(opened: Opened, tensors: Sequence[Tensor], limit: int = HELD_BYTES) -> Iterator[tuple[str, NDArray]]:
    """Name and value of each of `tensors`, in that order, from one run of the artifact.

    What is made before its turn waits. Only when more than `limit` bytes do, the last of them are let go of, and made
    again by another run when those before them have been seen.
    """
    place = {tensor.name: at for at, tensor in enumerate(tensors)}
    left = list(reversed(place))
    while left:
        waiting: dict[str, NDArray] = {}
        given: set[str] = set()
        for name, value in opened.stream(frozenset(left)):
            waiting[name] = value
            given.add(name)
            while left and left[-1] in waiting:
                yield left[-1], waiting.pop(left.pop())
            while sum(held.nbytes for held in waiting.values()) > limit:
                del waiting[max(waiting, key=place.__getitem__)]
        while left and (left[-1] in waiting or left[-1] not in given):
            name = left.pop()
            if name in waiting:  # or the file does not give it
                yield name, waiting.pop(name)


def _open_onnx(path: Path, feed: Mapping[str, NDArray], limit: int) -> Opened:
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    known = {}
    if path.stat().st_size < to_onnx.SINGLE_FILE_BYTES:
        known = {value.name: value for value in onnx.shape_inference.infer_shapes(model).graph.value_info}
    tensors = tuple(
        Tensor(
            name,
            node.op_type,
            _shape(known.get(name)),
            tuple(node.input),
            next((entry.value for entry in node.metadata_props if entry.key == to_onnx.MODULE), ""),
        )
        for node in model.graph.node
        for name in node.output
        if name
    )
    bytes_of = {tensor.name: BYTES * prod(tensor.shape) for tensor in tensors}

    def stream(names: Collection[str]) -> Values:
        for name, value in onnx_stream.stream(model, path.parent, feed, names, bytes_of.__getitem__, limit):
            if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                yield name, value

    return Opened(tensors, stream)


def _shape(value: Any) -> tuple[int, ...]:
    """An open size, which one sample makes 1, as 1."""
    return tuple(size.dim_value or 1 for size in value.type.tensor_type.shape.dim) if value is not None else ()


def _open_core_ml(artifact: Artifact, feed: Mapping[str, NDArray], mode: mil.Mode) -> Opened:
    model = mil.load(artifact.path)
    pictures = {given.name for given in artifact.inputs if given.kind == "image"}
    given = {name: value[0] if name in pictures else value for name, value in feed.items()}
    tensors = tuple(
        Tensor(
            output.name,
            operation.type,
            tuple(size or 1 for size in output.type.shape or ()),
            tuple(operation.reads()),
            artifact.modules.get(output.name, ""),
        )
        for operation in model.function.block.operations
        if operation.type != "const" and not operation.type.startswith("constexpr_")
        for output in operation.outputs
        if output.type.dtype is not None and output.type.dtype.is_float
    )

    def stream(names: Collection[str]) -> Values:
        for name, value in model.stream(given, names, mode=mode, allow_nan=True):
            if isinstance(value, np.ndarray):
                yield name, value

    return Opened(tensors, stream)
