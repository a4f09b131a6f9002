"""The tensors of a saved artifact, by name and in order, and their values for an input, a few at a time.

For ONNX they are made outputs of one session (with the runtime's fusions off, which would take them away); for Core ML
the executor keeps them. Values are fetched in chunks, so that a large network's tensors need not be in memory together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import mil
from ..artifact import Artifact
from ..formats import to_onnx

CHUNK_BYTES = 256 * 2**20
"""Values that are fetched by one run of the artifact."""

Fetch = Callable[[Sequence[str]], Mapping[str, NDArray]]


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
    """An artifact's float tensors in the order of its operators, and a function that computes those asked for."""

    tensors: tuple[Tensor, ...]
    fetch: Fetch


def open_points(artifact: Artifact, feed: Mapping[str, NDArray], *, mode: mil.Mode = "exact") -> Opened:
    """Open `artifact` for `feed` (one sample, laid out as it takes it). `mode` is the executor's; ONNX has one."""
    if artifact.format == to_onnx.NAME:
        return _open_onnx(artifact.path, feed)
    return _open_core_ml(artifact, feed, mode)


def in_chunks(fetch: Fetch, tensors: Sequence[Tensor], limit: int = CHUNK_BYTES) -> Iterator[tuple[str, NDArray]]:
    """Name and value of each tensor, in order; each run of the artifact gives about `limit` bytes of them."""
    chunk: list[str] = []
    size = 0
    for tensor in tensors:
        chunk.append(tensor.name)
        size += 8 * prod(tensor.shape)
        if size >= limit:
            yield from _fetched(fetch, chunk)
            chunk, size = [], 0
    if chunk:
        yield from _fetched(fetch, chunk)


def _fetched(fetch: Fetch, names: Sequence[str]) -> Iterator[tuple[str, NDArray]]:
    values = dict(fetch(names))
    for name in names:
        if name in values:
            yield name, values.pop(name)


def _open_onnx(path: Path, feed: Mapping[str, NDArray]) -> Opened:
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
    return Opened(tensors, partial(_run_onnx, model, path.parent, feed))


def _shape(value: Any) -> tuple[int, ...]:
    """An open size is 1, as one sample makes it."""
    return tuple(size.dim_value or 1 for size in value.type.tensor_type.shape.dim) if value is not None else ()


def _run_onnx(model: Any, folder: Path, feed: Mapping[str, NDArray], names: Sequence[str]) -> dict[str, NDArray]:
    import onnx
    import onnxruntime

    asked = onnx.ModelProto()
    asked.CopyFrom(model)
    own = {output.name for output in asked.graph.output}
    asked.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in own)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    session = onnxruntime.InferenceSession(asked.SerializeToString(), options, providers=["CPUExecutionProvider"])
    values: list[Any] = list(session.run(list(names), dict(feed)))
    return {name: value for name, value in zip(names, values, strict=True) if value.dtype.kind == "f"}


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

    def fetch(names: Sequence[str]) -> dict[str, NDArray]:
        kept = model.run(given, mode=mode, keep=set(names), allow_nan=True).values
        return {name: value for name, value in kept.items() if isinstance(value, np.ndarray)}

    return Opened(tensors, fetch)
