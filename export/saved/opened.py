"""A saved file of any tool, opened: what it takes and gives, its operators, its precision, its hash.

What `convert` says of a file when it writes it, this reads back from the file alone, so a file that another tool wrote
can be checked, compared and watched like one of ours. Nothing of it is run here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import mil
from ..artifact import Artifact, TensorSpec, files_of, sha256_on_disk
from ..formats import to_coreml, to_onnx
from ..formats.mlpackage import content_sha256
from ..recheck.mapping import COLOURS

if TYPE_CHECKING:
    from ...mil.features import Feature

IMAGE_RANK = 4
FLOAT16 = 10
"""ONNX's own number for float16 (TensorProto.DataType)."""

QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinear", "MatMulNBits", "constexpr_")
"""How the names of operators on compressed weights begin (Core ML: `constexpr_…`)."""


class ArtifactError(ValueError):
    """A file that cannot be opened as a model; the message is one line that names it."""


def open_artifact(path: Path) -> Artifact:
    """The .onnx or .mlpackage at `path`. Raises ArtifactError with one line for anything else."""
    if not path.exists():
        raise ArtifactError(f"{path}: there is no such file; expected a .onnx file or a .mlpackage folder")
    if path.suffix == to_onnx.SUFFIX:
        return _onnx(path)
    if path.suffix == to_coreml.SUFFIX:
        return _core_ml(path)
    raise ArtifactError(f"{path}: expected a .onnx file or a .mlpackage folder, got {path.suffix or 'no suffix'}")


def compressed(artifact: Artifact) -> str | None:
    """The operators that decompress weights, in words ("3 constexpr_lut_to_dense"); None for plain weights."""
    found = [f"{count} {name}" for name, count in artifact.operations.items() if name.startswith(QUANTIZED)]
    return ", ".join(found) or None


def _onnx(path: Path) -> Artifact:
    if find_spec("onnx") is None:
        raise ArtifactError(f'{path}: reading ONNX needs onnx, not installed here; pip install "fuseport[onnx]"')
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, OSError) as error:
        raise ArtifactError(f"{path}: cannot be read as ONNX; it is damaged, or something else") from error
    if not model.graph.output:
        raise ArtifactError(f"{path}: holds no ONNX graph (it has no outputs)")
    files = [path, *_external(path, model)]
    held = {tensor.name for tensor in model.graph.initializer}  # old files list the weights among the inputs
    return Artifact(
        path=path,
        format=to_onnx.NAME,
        precision="float16" if FLOAT16 in _onnx_types(model) else "float32",
        inputs=tuple(_onnx_tensor(value) for value in model.graph.input if value.name not in held),
        outputs=tuple(_onnx_tensor(value) for value in model.graph.output),
        bytes=sum(file.stat().st_size for file in files),
        sha256=sha256_on_disk(*files),
        operations=dict(sorted(Counter(node.op_type for node in model.graph.node).items())),
        export_id=_property(model, "fuseport.export_id"),
        modules={
            node.output[0]: entry.value
            for node in model.graph.node
            for entry in node.metadata_props
            if entry.key == to_onnx.MODULE and node.output
        },
        versions=_versions("onnx", "onnxruntime"),
        details={
            "opset": next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), None),
            "ir_version": model.ir_version,
            "external_data": [file.name for file in files[1:]],
        },
    )


def _external(path: Path, model: Any) -> list[Path]:
    """The files beside `path` that hold its weights. A file elsewhere is refused: a model must not reach for it."""
    named = sorted(
        {entry.value for tensor in model.graph.initializer for entry in tensor.external_data if entry.key == "location"}
    )
    for name in named:
        file = path.parent / name
        if Path(name).name != name or file.is_symlink():
            raise ArtifactError(f"{path}: its weights are said to be in {name!r}; expected a file in the same folder")
        if not file.is_file():
            raise ArtifactError(f"{path}: its weights should be in {name} beside it, which is not there")
    return [path.parent / name for name in named]


def _onnx_types(model: Any) -> set[int]:
    values = (*model.graph.input, *model.graph.output, *model.graph.value_info)
    return {tensor.data_type for tensor in model.graph.initializer} | {
        value.type.tensor_type.elem_type for value in values
    }


def _onnx_tensor(value: Any) -> TensorSpec:
    import onnx

    declared = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(declared.elem_type).name if declared.elem_type else "unknown"
    shape = tuple(
        size.dim_value if size.HasField("dim_value") else size.dim_param or "?" for size in declared.shape.dim
    )
    picture = dtype == "uint8" and len(shape) == IMAGE_RANK and {shape[1], shape[3]} & set(COLOURS)
    return TensorSpec(value.name, shape, dtype, "image" if picture else "tensor")


def _property(model: Any, key: str) -> str:
    return next((entry.value for entry in model.metadata_props if entry.key == key), "")


def _core_ml(path: Path) -> Artifact:
    try:
        model = mil.load(path)
    except mil.MilError as error:
        raise ArtifactError(f"{path}: {error}") from error
    operations = [made for made in model.function.block.operations if made.type != "const"]
    types = {value.name: value.type for made in model.function.block.walk() for value in made.outputs}
    halves = any(kind.dtype is not None and kind.dtype.name == "fp16" for kind in types.values())
    shapes = {name: kind.shape for name, kind in types.items()}
    return Artifact(
        path=path,
        format=to_coreml.NAME,
        precision="float16" if halves else "float32",
        inputs=tuple(_feature(given, given.shape) for given in model.inputs),
        outputs=tuple(_feature(made, shapes.get(made.name)) for made in model.outputs),
        bytes=sum(file.stat().st_size for file in files_of(path)),
        sha256=content_sha256(path),
        operations=dict(sorted(Counter(made.type for made in operations).items())),
        export_id="",
        modules={},
        versions=_versions("coremltools"),
        details={"opset": model.function.opset, "functions": list(model.functions)},
    )


def _feature(feature: Feature, shape: tuple[int | None, ...] | None) -> TensorSpec:
    """Pictures as our own files tell them, (1, H, W, channels); an axis that may vary is "?"."""
    if feature.kind == "image" and feature.shape is not None:
        _, channels, height, width = feature.shape
        return TensorSpec(feature.name, (1, height, width, channels), "uint8", "image")
    sizes: tuple[int | str, ...] = tuple("?" if size is None else size for size in shape or ())
    if feature.ranges:
        sizes = tuple(low if low == high else "?" for low, high in feature.ranges)
    return TensorSpec(feature.name, sizes, feature.dtype, feature.kind)


def _versions(*packages: str) -> dict[str, str]:
    return dict(_installed(*packages))


def _installed(*packages: str) -> Iterator[tuple[str, str]]:
    for package in packages:
        if find_spec(package) is not None:
            yield package, version(package)
