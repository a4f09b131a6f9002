"""Inputs that fit and inputs that do not, pictures in every colour layout, classifier outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from fuseport import mil
from fuseport.mil.schema import feature_types
from mil_build import Program, Ref, affine_program
from PIL import Image


def model_of(program: Program, tmp_path: Path) -> mil.Model:
    return mil.load(program.save(tmp_path / "m.mlpackage"))


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, "'x' is missing; it expects shape 2x4"),
        ({"x": np.zeros((2, 4)), "y": 1}, "unknown input 'y'; the model's inputs are x"),
        ({"x": np.zeros((2, 5))}, "expects shape 2x4, got 2x5"),
        ({"x": np.zeros(8)}, "expects shape 2x4, got 8"),
        ({"x": "cat"}, "expects numbers of float32"),
        ({"x": [["a"] * 4] * 2}, "expects numbers of float32"),
        ({"x": object()}, "expects numbers of float32, got object"),
        ({"x": np.zeros((2, 4), complex)}, "expects numbers of float32, got complex128"),
        ({"x": np.array([[np.nan] * 4] * 2)}, "holds a NaN"),
    ],
)
def test_inputs_that_do_not_fit(tmp_path: Path, inputs: dict[str, object], words: str) -> None:
    model = model_of(affine_program(), tmp_path)
    with pytest.raises(mil.InputError, match=words) as caught:
        model.predict(inputs)
    assert "\n" not in str(caught.value)


def test_inputs_that_fit_in_other_forms(tmp_path: Path) -> None:
    model = model_of(affine_program(), tmp_path)
    x = np.arange(8).reshape(2, 4)
    expected = model.predict({"x": x.astype(np.float32)})["y"]
    strided = np.zeros((4, 4), np.float64)
    strided[::2] = x
    for form in (
        x,
        x.tolist(),
        torch.tensor(x),
        x.astype(np.uint16),
        x.astype(">f4"),
        strided[::2],
        x[::-1].copy()[::-1],
    ):
        np.testing.assert_array_equal(model.predict({"x": form})["y"], expected)


def test_a_nan_passes_when_it_is_allowed(tmp_path: Path) -> None:
    model = model_of(affine_program(), tmp_path)
    assert np.isnan(model.predict({"x": np.full((2, 4), np.nan)}, allow_nan=True)["y"]).all()


def test_fractions_are_refused_for_integers(tmp_path: Path) -> None:
    program = Program()
    program.input("x", (2,), "int32")
    program.op("add", ("y", (2,), "int32"), x=Ref("x"), y=np.int32(1))
    program.output("y", "int32")
    model = model_of(program, tmp_path)
    assert model.predict({"x": np.array([1, 2], np.int64)})["y"].tolist() == [2, 3]
    with pytest.raises(mil.InputError, match="expects int32 values, got float64"):
        model.predict({"x": np.array([1.5, 2.0])})


def flexible(shapes: list[list[int]] | None = None, ranges: list[tuple[int, int]] | None = None) -> Program:
    program = Program()
    program.input("x", (None, 3))
    program.op("square", ("y", (None, 3), "fp32"), x=Ref("x"))
    program.output("y")
    array = program.model.description.input[0].type.multiArrayType
    array.shape[:] = [2, 3]
    for shape in shapes or []:
        array.enumeratedShapes.shapes.add().shape.extend(shape)
    for low, high in ranges or []:
        array.shapeRange.sizeRanges.add(lowerBound=low, upperBound=high)
    return program


def test_enumerated_shapes(tmp_path: Path) -> None:
    model = model_of(flexible(shapes=[[2, 3], [5, 3]]), tmp_path)
    for n in (2, 5):
        assert model.predict({"x": np.ones((n, 3))})["y"].shape == (n, 3)
    with pytest.raises(mil.InputError, match="expects shape 2x3 or 5x3, got 4x3"):
        model.predict({"x": np.ones((4, 3))})


def test_ranges_of_shapes(tmp_path: Path) -> None:
    model = model_of(flexible(ranges=[(1, 4), (3, 3)]), tmp_path)
    assert model.predict({"x": np.ones((4, 3))})["y"].shape == (4, 3)
    for wrong in ((5, 3), (0, 3), (2, 2), (2,)):
        with pytest.raises(mil.InputError, match=r"expects shape \(1..4\)x3"):
            model.predict({"x": np.ones(wrong)})


def test_an_open_range_has_no_upper_end(tmp_path: Path) -> None:
    model = model_of(flexible(ranges=[(1, -1), (3, 3)]), tmp_path)
    assert model.predict({"x": np.ones((1000, 3))})["y"].shape == (1000, 3)


def test_a_missing_optional_input_takes_its_default(tmp_path: Path) -> None:
    program = affine_program()
    array = program.model.description.input[0].type.multiArrayType
    array.floatDefaultValue = 0.5
    model = model_of(program, tmp_path)
    np.testing.assert_array_equal(model.predict({})["y"], model.predict({"x": np.full((2, 4), 0.5)})["y"])


def picture_program(colour: str, channels: int, output: bool = False) -> Program:
    """Doubles a picture of 2 rows and 3 columns."""
    program = Program()
    program.input("x", (1, channels, 2, 3))
    program.op("mul", ("y", (1, channels, 2, 3), "fp32"), x=Ref("x"), y=np.float32(2))
    program.output("y")
    features = [program.model.description.input[0]] + ([program.model.description.output[0]] if output else [])
    for feature in features:
        feature.type.ClearField("multiArrayType")
        image = feature.type.imageType
        image.width, image.height = 3, 2
        image.colorSpace = feature_types().ImageFeatureType.ColorSpace.Value(colour)
    return program


PIXELS = np.arange(18, dtype=np.uint8).reshape(2, 3, 3) * 10


@pytest.mark.parametrize("form", [Image.fromarray(PIXELS), PIXELS])
def test_colour_pictures(tmp_path: Path, form: object) -> None:
    rgb = mil.load(picture_program("RGB", 3).save(tmp_path / "rgb.mlpackage"))
    bgr = mil.load(picture_program("BGR", 3).save(tmp_path / "bgr.mlpackage"))
    assert (rgb.inputs[0].kind, rgb.inputs[0].colour, rgb.inputs[0].shape) == ("image", "RGB", (1, 3, 2, 3))
    expected = PIXELS.transpose(2, 0, 1)[None].astype(np.float32) * 2
    np.testing.assert_array_equal(rgb.predict({"x": form})["y"], expected)
    np.testing.assert_array_equal(bgr.predict({"x": form})["y"], expected[:, ::-1])


@pytest.mark.parametrize("form", [Image.fromarray(PIXELS[..., 0]), PIXELS[..., 0]])
def test_grey_pictures(tmp_path: Path, form: object) -> None:
    for colour in ("GRAYSCALE", "GRAYSCALE_FLOAT16"):
        model = mil.load(picture_program(colour, 1).save(tmp_path / f"{colour}.mlpackage"))
        np.testing.assert_array_equal(model.predict({"x": form})["y"][0, 0], PIXELS[..., 0] * np.float32(2))


def test_pictures_of_the_wrong_size_or_kind(tmp_path: Path) -> None:
    model = model_of(picture_program("RGB", 3), tmp_path)
    with pytest.raises(mil.InputError, match="expects shape 1x3x2x3, got 1x3x4x4"):
        model.predict({"x": Image.new("RGB", (4, 4))})
    with pytest.raises(mil.InputError, match="expects a RGB picture"):
        model.predict({"x": np.zeros((2, 3, 4), np.uint8)})


@pytest.mark.parametrize(("colour", "channels"), [("RGB", 3), ("BGR", 3), ("GRAYSCALE", 1), ("GRAYSCALE_FLOAT16", 1)])
def test_picture_outputs(tmp_path: Path, colour: str, channels: int) -> None:
    model = model_of(picture_program(colour, channels, output=True), tmp_path)
    given = PIXELS if channels == 3 else PIXELS[..., 0]
    found = model.predict({"x": given})["y"]
    assert isinstance(found, Image.Image)
    expected = given.astype(int) * 2
    np.testing.assert_array_equal(np.asarray(found), expected if colour.endswith("16") else expected.clip(0, 255))


@pytest.mark.parametrize("labels", [["cat", "dog", "cow"], [10, 20, 30]])
def test_classifier_outputs(tmp_path: Path, labels: list[object]) -> None:
    program = Program()
    program.input("x", (1, 3))
    program.op("softmax", ("p", (1, 3), "fp32"), x=Ref("x"), axis=-1)
    operation = program.op("classify", [], probabilities=Ref("p"), classes=labels)
    operation.outputs.add(name="label").type.tensorType.dataType = 2 if isinstance(labels[0], str) else 24
    operation.outputs.add(name="scores").type.dictionaryType.SetInParent()
    program.block.outputs.extend(["label", "scores"])
    described = program.model.description.output
    if isinstance(labels[0], str):
        described.add(name="label").type.stringType.SetInParent()
        described.add(name="scores").type.dictionaryType.stringKeyType.SetInParent()
    else:
        described.add(name="label").type.int64Type.SetInParent()
        described.add(name="scores").type.dictionaryType.int64KeyType.SetInParent()
    found = model_of(program, tmp_path).predict({"x": np.array([[1.0, 3.0, 2.0]])})
    assert found["label"] == labels[1]
    assert list(found["scores"]) == labels
    assert sum(found["scores"].values()) == pytest.approx(1)
