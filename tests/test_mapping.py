"""Inputs and outputs of a file are joined to the model's where there is one way to do it, and asked for otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fuseport.export.artifact import Artifact, TensorSpec
from fuseport.export.recheck.mapping import MappingError, bridge, renamed

PIXELS = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
TENSOR = PIXELS.transpose(0, 3, 1, 2).astype(np.float32)


def file(*inputs: TensorSpec) -> Artifact:
    return Artifact(Path("net.onnx"), "onnx", "float32", inputs, (), 1, "", {}, "", {}, {}, {})


def spec(name: str, *shape: int | str, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name, shape, dtype)


def test_equal_names_and_shapes_are_joined() -> None:
    feed = {"a": np.zeros((2, 5), np.float32), "b": np.zeros((2, 5), np.float32)}
    wires = bridge(file(spec("b", 1, 5), spec("a", "N", 5)), feed, {}).wires
    assert {name: wire.feed for name, wire in wires.items()} == {"a": "a", "b": "b"}


def test_other_names_are_joined_by_shape_and_kind() -> None:
    feed = {"image": TENSOR, "mask": np.zeros((2, 7), np.int64), "text": np.zeros((2, 7), np.float32)}
    theirs = file(spec("y", 1, 7, dtype="int32"), spec("x", 1, 3, 4, 4), spec("z", 1, 7))
    way = bridge(theirs, feed, {})
    assert {name: wire.feed for name, wire in way.wires.items()} == {"x": "image", "y": "mask", "z": "text"}
    assert way.feed(feed)["y"].dtype == np.int32


@pytest.mark.parametrize(
    ("given", "feed", "scale", "expected"),
    [
        (spec("x", 1, 3, 4, 4), TENSOR, None, TENSOR),
        (spec("x", 1, 4, 4, 3), TENSOR, None, PIXELS.astype(np.float32)),
        (spec("x", "N", "H", "W", 3), TENSOR, None, PIXELS.astype(np.float32)),
        (spec("x", 1, 3, 4, 4, dtype="float16"), TENSOR, None, TENSOR.astype(np.float16)),
        (spec("x", 1, 3, 4, 4, dtype="uint8"), PIXELS, None, PIXELS.transpose(0, 3, 1, 2)),
        (spec("x", 1, 4, 4, 3, dtype="uint8"), PIXELS, None, PIXELS),
        (spec("x", 1, 3, 4, 4), PIXELS, 1 / 255, TENSOR / np.float32(255)),
        (spec("x", 1, 4, 4, 3), PIXELS, 1.0, PIXELS.astype(np.float32)),
    ],
)
def test_the_layout_and_the_dtype_are_the_files(
    given: TensorSpec, feed: np.ndarray, scale: float | None, expected: np.ndarray
) -> None:
    made = bridge(file(given), {"image": feed}, {}, scale).feed({"image": feed})["x"]
    assert made.dtype == expected.dtype
    np.testing.assert_allclose(made, expected, rtol=1e-6)


def test_what_is_not_clear_is_asked_for_with_both_lists() -> None:
    feed = {"left": TENSOR, "right": TENSOR}
    theirs = file(spec("x", 1, 3, 4, 4), spec("y", 1, 3, 4, 4))
    with pytest.raises(
        MappingError, match=r"more than one way: net.onnx takes x .* and y .*; the model left .*--input-"
    ):
        bridge(theirs, feed, {})
    joined = bridge(theirs, feed, {"x": "right"}).wires
    assert {name: wire.feed for name, wire in joined.items()} == {"x": "right", "y": "left"}


@pytest.mark.parametrize(
    ("theirs", "given", "told"),
    [
        (file(spec("x", 1, 3, 5, 5)), {}, "does not fit the model: net.onnx takes x float32 (1, 3, 5, 5); the model"),
        (file(spec("x", 1, 3, 4, 4), spec("y", 1)), {}, "does not fit the model"),
        (file(spec("x", 1, 3, 4, 4, dtype="int32")), {}, "does not fit the model"),
        (file(spec("x", 1, 3, 4, 4)), {"z": "image"}, "--input-map z=image names no such pair"),
        (file(spec("x", 1, 3, 5, 5)), {"x": "image"}, "--input-map x=image joins inputs that do not fit"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(theirs: Artifact, given: dict[str, str], told: str) -> None:
    with pytest.raises(MappingError) as error:
        bridge(theirs, {"image": TENSOR}, given)
    assert told in str(error.value)


ONE, TWO = np.zeros((2, 10)), np.zeros((2, 6))


def test_outputs_are_joined_by_name_then_by_shape() -> None:
    expected = {"logits": ONE, "features": TWO}
    assert set(renamed(file(), {"var_9": TWO, "var_8": ONE}, expected, {})) == {"logits", "features"}
    assert set(renamed(file(), {"var_8": TWO}, {"logits": ONE}, {})) == {"logits"}
    partly = renamed(file(), {"logits": ONE, "var_9": TWO}, expected, {})
    assert set(partly) == {"logits", "var_9"}, "where a name agrees, the comparison says what is missing"
    with pytest.raises(MappingError, match="more than one way"):
        renamed(file(), {"a": ONE, "b": ONE}, {"c": ONE, "d": ONE}, {})
    assert set(renamed(file(), {"a": ONE, "b": TWO}, {"c": ONE, "d": ONE}, {"a": "d"})) == {"d"}
    with pytest.raises(MappingError, match="does not fit the model"):
        renamed(file(), {"a": ONE, "b": TWO}, {"c": ONE}, {})
