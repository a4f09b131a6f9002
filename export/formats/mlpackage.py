"""The folder of a Core ML model, described, and made the same from run to run.

    NAME.mlpackage/Manifest.json                           which item is the model
                   Data/com.apple.CoreML/model.mlmodel     protobuf: the program and its description
                   Data/com.apple.CoreML/weights/weight.bin

coremltools writes random identifiers into the manifest. Here they are UUIDs of version 5, made from the content of the
item they stand for; the day of the conversion, which coremltools notes in the metadata, is taken out; and the protobuf
is serialised with its maps in order. The messages are filled and read here without coremltools.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..artifact import TensorSpec, sha256_on_disk

MODEL = Path("com.apple.CoreML/model.mlmodel")
DATA = Path("Data")
MANIFEST = Path("Manifest.json")

DATE = "com.github.apple.coremltools.conversion_date"

FIELDS = {"description": "shortDescription", "author": "author", "license": "license", "version": "versionString"}
"""The metadata that Xcode shows in places of their own; all other keys become "additional" metadata."""


def finish(package: Path, spec: Any) -> None:
    """Put `spec` (a Model) in the place of the package's model file, and give it a manifest that follows from it."""
    (package / DATA / MODEL).write_bytes(spec.SerializeToString(deterministic=True))
    (package / MANIFEST).write_bytes(_manifest(package, {}))


def content_sha256(package: Path) -> str:
    """The hash of a package of any tool, free of what coremltools makes anew in each conversion: random identifiers in
    the manifest, and the date. Of a finished package it is the plain one, and of one whose parts cannot be read too.
    """
    from google.protobuf.message import DecodeError

    from ...mil.schema import model_message  # it needs coremltools' messages, which `--help` must not load

    instead: dict[Path, bytes] = {}
    spec = model_message()
    try:
        spec.ParseFromString((package / DATA / MODEL).read_bytes())
        if DATE in spec.description.metadata.userDefined:
            del spec.description.metadata.userDefined[DATE]
            instead[package / DATA / MODEL] = spec.SerializeToString(deterministic=True)
        instead[package / MANIFEST] = _manifest(package, instead)
    except (DecodeError, OSError, ValueError, LookupError, TypeError, AttributeError, StopIteration):
        return sha256_on_disk(package)
    return sha256_on_disk(package, instead=instead)


def _manifest(package: Path, instead: Mapping[Path, bytes]) -> bytes:
    """The package's manifest, its items under identifiers that follow from their content."""
    manifest: dict[str, Any] = json.loads((package / MANIFEST).read_text())
    items = sorted(manifest["itemInfoEntries"].values(), key=lambda item: item["path"])
    by_identifier = {_identifier(package / DATA / item["path"], item["path"], instead): item for item in items}
    root = next(name for name, item in by_identifier.items() if Path(item["path"]) == MODEL)
    entries = {"fileFormatVersion": manifest["fileFormatVersion"], "itemInfoEntries": by_identifier}
    text = json.dumps({**entries, "rootModelIdentifier": root}, indent=4, sort_keys=True)
    return f"{text}\n".encode()


def _identifier(item: Path, name: str, instead: Mapping[Path, bytes]) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{name}?sha256={sha256_on_disk(item, instead=instead)}"))


def describe(spec: Any, metadata: Mapping[str, str]) -> None:
    """Put `metadata` into a Model message, in place of the date."""
    fields = spec.description.metadata
    for key, value in metadata.items():
        if key in FIELDS:
            setattr(fields, FIELDS[key], value)
        else:
            fields.userDefined[key] = value
    del fields.userDefined[DATE]


def tensor_specs(features: Any, captured: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    """The tensors as the package declares them; an open size is named as in the capture."""
    shapes = {tensor.name: tensor.shape for tensor in captured}
    return tuple(_tensor_spec(feature, shapes.get(feature.name, ())) for feature in features)


def _tensor_spec(feature: Any, shape: tuple[int | str, ...]) -> TensorSpec:
    kind = feature.type.WhichOneof("Type")
    if kind == "imageType":
        return TensorSpec(
            feature.name, (1, feature.type.imageType.height, feature.type.imageType.width, 3), "uint8", "image"
        )
    if kind == "stringType":
        return TensorSpec(feature.name, (), "string", "label")
    if kind == "dictionaryType":
        return TensorSpec(feature.name, (), "float64", "probabilities")
    array: Any = feature.type.multiArrayType
    dtype = array.DESCRIPTOR.fields_by_name["dataType"].enum_type.values_by_number[array.dataType].name
    return TensorSpec(feature.name, shape, "float64" if dtype == "DOUBLE" else dtype.lower())
