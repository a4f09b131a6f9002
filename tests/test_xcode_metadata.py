"""The model's metadata: the id that comes back, the schemas, and metadata that is not what it should be."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fuseport.validate.xcode.metadata import export_id, is_constant, read_model
from xcode_samples import phone


def metadata(**changes: Any) -> dict[str, Any]:
    """The sample's metadata with `changes` to its raw metadata."""
    value = phone()["modelMetadata"]
    (raw,) = json.loads(value["rawMetadata"])
    return value | {"rawMetadata": json.dumps([raw | changes])}


@pytest.mark.parametrize(("user", "found"), [
    ({"fuseport.export_id": "a", "com.example.export_id": "b"}, "a"),
    ({"com.example.export_id": "b"}, "b"),
    ({"one.export_id": "b", "two.export_id": "c"}, None),
    ({"one.export_id": "b", "two.export_id": "b"}, "b"),
    ({"some.id": "b"}, None),
    ({}, None),
])  # fmt: skip
def test_export_id(user: dict[str, str], found: str | None) -> None:
    assert export_id(user) == found


def test_user_metadata_that_is_no_text_is_passed_over() -> None:
    model = read_model(metadata(userDefinedMetadata={"fuseport.export_id": 7}), [])
    assert model.export_id is None


@pytest.mark.parametrize("raw", ["{", "{}", "[]", "[1]", 5, "[" * 5000, "null"])
def test_raw_metadata_that_is_no_array_of_one_object(raw: object) -> None:
    oddities: list[str] = []
    model = read_model({"fileName": "net", "rawMetadata": raw}, oddities)
    assert (model.name, model.inputs) == ("net", ())
    assert oddities == ["modelMetadata.rawMetadata that is not an array of one object"]


@pytest.mark.parametrize(("text", "shape"), [
    ("[1, 3, 64, 64]", (1, 3, 64, 64)),
    ("[]", None),
    ("[1, -1]", None),
    ("1 x 3", None),
    (None, None),
    ("[99999999999999999999]", None),
])  # fmt: skip
def test_shapes(text: object, shape: object) -> None:
    schema = [{"name": "image", "formattedType": "MultiArray", "shape": text}]
    assert read_model(metadata(inputSchema=schema), []).inputs[0].shape == shape


@pytest.mark.parametrize("histogram", [["conv"], {"conv": "two"}, {"conv": -1}, {"conv": True}])
def test_a_histogram_that_counts_nothing_is_odd(histogram: object) -> None:
    oddities: list[str] = []
    assert read_model(metadata(mlProgramOperationTypeHistogram=histogram), oddities).histogram == {}
    assert len(oddities) == 1


@pytest.mark.parametrize("operator", ["const", "constexpr_lut_to_dense", "Ios18.constexprLutToDense", "ios17.const"])
def test_constants(operator: str) -> None:
    assert is_constant(operator)


def test_an_operation_is_no_constant() -> None:
    assert not any(is_constant(operator) for operator in ("Ios17.conv", "reduce_mean", "ios16.constrain"))
