"""The package folder: identifiers that follow from content, metadata without a date, tensors as declared."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from coremltools.proto import FeatureTypes_pb2, Model_pb2
from fuseport import mil
from fuseport.export.artifact import TensorSpec, sha256_on_disk
from fuseport.export.formats import mlpackage
from fuseport.mil.schema import model_message

DATE = "com.github.apple.coremltools.conversion_date"
RANDOM = ("11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222")


def package(folder: Path, *, weights: bytes = b"weights", description: str = "a net", swapped: bool = False) -> Path:
    """A finished package, from one with random identifiers as coremltools writes it."""
    data = folder / "Data" / "com.apple.CoreML"
    (data / "weights").mkdir(parents=True)
    (data / "weights" / "weight.bin").write_bytes(weights)
    (data / "model.mlmodel").write_bytes(b"before")
    items = [
        {"author": "com.apple.CoreML", "name": "model.mlmodel", "path": "com.apple.CoreML/model.mlmodel"},
        {"author": "com.apple.CoreML", "name": "weights", "path": "com.apple.CoreML/weights"},
    ]
    names = RANDOM[::-1] if swapped else RANDOM
    entries = dict(sorted(zip(names, items, strict=True)))
    manifest = {"fileFormatVersion": "1.0.0", "itemInfoEntries": entries, "rootModelIdentifier": names[0]}
    (folder / "Manifest.json").write_text(json.dumps(manifest))
    spec = Model_pb2.Model(specificationVersion=7)
    spec.description.metadata.userDefined[DATE] = "2026-11-21"
    mlpackage.describe(spec, {"description": description, "b": "2", "a": "1"})
    mlpackage.finish(folder, spec)
    return folder


def manifest_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "Manifest.json").read_text())


def test_identifiers_are_made_from_content(tmp_path: Path) -> None:
    manifest = manifest_of(package(tmp_path / "a"))
    assert [uuid.UUID(name).version for name in manifest["itemInfoEntries"]] == [5, 5]
    root = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]
    assert root == {"author": "com.apple.CoreML", "name": "model.mlmodel", "path": "com.apple.CoreML/model.mlmodel"}
    assert manifest["fileFormatVersion"] == "1.0.0"


def test_the_manifest_does_not_depend_on_the_random_identifiers(tmp_path: Path) -> None:
    written = [
        (package(tmp_path / name, swapped=swapped) / "Manifest.json").read_bytes()
        for name, swapped in (("a", False), ("b", True))
    ]
    assert written[0] == written[1]


def test_other_content_has_other_identifiers(tmp_path: Path) -> None:
    first = set(manifest_of(package(tmp_path / "a"))["itemInfoEntries"])
    assert len(first & set(manifest_of(package(tmp_path / "b", weights=b"others"))["itemInfoEntries"])) == 1
    assert len(first & set(manifest_of(package(tmp_path / "c", description="another"))["itemInfoEntries"])) == 1


def test_metadata_has_its_places_and_the_date_is_gone(tmp_path: Path) -> None:
    model = Model_pb2.Model.FromString((package(tmp_path / "a") / "Data/com.apple.CoreML/model.mlmodel").read_bytes())
    assert model.description.metadata.shortDescription == "a net"
    assert dict(model.description.metadata.userDefined) == {"a": "1", "b": "2"}


def test_the_manifest_leads_to_the_model(tmp_path: Path) -> None:
    """The executor reads it as Core ML does, by its root: an empty message is no ML Program, but it was found."""
    with pytest.raises(mil.PackageError, match=r"model\.mlmodel"):
        mil.load(package(tmp_path / "a.mlpackage"))


def feature(name: str, **kind: Any) -> Any:
    return Model_pb2.FeatureDescription(name=name, type=FeatureTypes_pb2.FeatureType(**kind))


def test_tensors_as_declared() -> None:
    array = FeatureTypes_pb2.ArrayFeatureType
    label, probabilities = feature("label"), feature("probabilities")
    label.type.stringType.SetInParent()
    probabilities.type.dictionaryType.stringKeyType.SetInParent()
    features = [
        feature("half", multiArrayType=array(dataType=array.FLOAT16)),
        feature("whole", multiArrayType=array(dataType=array.INT32)),
        feature("double", multiArrayType=array(dataType=array.DOUBLE)),
        feature("picture", imageType=FeatureTypes_pb2.ImageFeatureType(width=4, height=3)),
        label,
        probabilities,
    ]
    captured = (TensorSpec("half", ("batch", 3), "float32"), TensorSpec("whole", (2,), "int64"))
    assert mlpackage.tensor_specs(features, captured) == (
        TensorSpec("half", ("batch", 3), "float16"),
        TensorSpec("whole", (2,), "int32"),
        TensorSpec("double", (), "float64"),
        TensorSpec("picture", (1, 3, 4, 3), "uint8", "image"),
        TensorSpec("label", (), "string", "label"),
        TensorSpec("probabilities", (), "float64", "probabilities"),
    )


def test_the_hash_of_content_is_free_of_the_day_and_of_random_identifiers(tmp_path: Path) -> None:
    ours = package(tmp_path / "a" / "net")
    plain = sha256_on_disk(ours)
    assert mlpackage.content_sha256(ours) == plain
    hashes = []
    for day, swapped in (("2026-11-21", False), ("2026-11-22", True)):
        theirs = package(tmp_path / day / "net", swapped=swapped)
        spec = model_message()
        file = theirs / "Data" / "com.apple.CoreML" / "model.mlmodel"
        spec.ParseFromString(file.read_bytes())
        spec.description.metadata.userDefined[DATE] = day
        file.write_bytes(spec.SerializeToString())
        told = manifest_of(theirs)
        names = dict(zip(told["itemInfoEntries"], RANDOM[::-1] if swapped else RANDOM, strict=True))
        told["itemInfoEntries"] = {names[name]: item for name, item in told["itemInfoEntries"].items()}
        told["rootModelIdentifier"] = names[told["rootModelIdentifier"]]
        (theirs / "Manifest.json").write_text(json.dumps(told))
        hashes.append((sha256_on_disk(theirs), mlpackage.content_sha256(theirs)))
    assert hashes[0][0] != hashes[1][0]
    assert hashes[0][1] == hashes[1][1] == plain
    other = package(tmp_path / "b" / "net", weights=b"other weights")
    assert mlpackage.content_sha256(other) != plain
    (other / "Manifest.json").write_text("no JSON")
    assert mlpackage.content_sha256(other) == sha256_on_disk(other)
