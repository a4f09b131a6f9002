"""One layer's error beside what rounding costs it: what passes, what jumps, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fuseport.validate.layer_errors import ALLOWED, Layer, excess, explain, first_jump, is_another, relative

NARROW = ALLOWED["float16", "all values"]
WIDE = ALLOWED["float32", "all values"]


@pytest.fixture
def expected() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(1, 32, 14, 14))


def half(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float16).astype(np.float64)


def layer(name: str, **changed: object) -> Layer:
    figures = {"error": 1e-3, "inputs_error": 1e-3, "added": 1e-4, "cost": 1e-4, "excess": 0.3, "largest": 4.0}
    return Layer(name, "conv2d", "stem.0", "net.py:3", (1, 8), **(figures | changed))  # pyright: ignore


def test_what_rounding_does_passes(expected: np.ndarray) -> None:
    assert excess(half(expected), expected, half(expected), NARROW) < 0.5
    assert excess(expected.astype(np.float32), expected, expected.astype(np.float32), WIDE) < 0.5
    assert excess(expected, expected, expected, WIDE) == 0


def test_another_order_of_rounding_passes(expected: np.ndarray) -> None:
    other = half(half(expected * 1.37) / 1.37)
    assert excess(other, expected, half(expected), NARROW) < 1


def test_a_wrong_tensor_jumps(expected: np.ndarray) -> None:
    assert excess(1.01 * expected, expected, half(expected), NARROW) > 5
    assert excess(1.0001 * expected, expected, expected.astype(np.float32), WIDE) > 5


def test_one_wrong_channel_jumps_though_the_tensor_as_a_whole_would_pass(expected: np.ndarray) -> None:
    ours = half(expected)
    ours[:, 7] *= 1.01
    assert relative(ours, expected) < 3e-3
    assert excess(ours, expected, half(expected), NARROW) > 1.5


def test_a_value_that_is_not_finite(expected: np.ndarray) -> None:
    broken = half(expected)
    broken[0, 3, 2, 1] = np.inf
    assert excess(broken, expected, half(expected), NARROW) == np.inf
    assert excess(broken, expected, broken, NARROW) == 0  # rounding alone does it
    assert excess(half(expected), np.full_like(expected, np.nan), broken, NARROW) == 0
    assert relative(broken, expected) == np.inf


def test_the_first_jump_is_named() -> None:
    layers = [layer("a"), layer("b", excess=7.0, error=0.5, added=0.4), layer("c", error=0.9), layer("d", excess=2.0)]
    found = first_jump(layers)
    assert found is not None
    assert found.tensor == "b"
    assert explain(layers) == (
        "the error jumps at stem.0 (conv2d, tensor 'b'), net.py:3: from 1.0e-03 at its inputs to 5.0e-01; "
        "this layer alone adds 4.0e-01, rounding would 1.0e-04; so it does at 1 more"
    )


def test_an_overflow_is_named_and_otherwise_where_the_error_is_largest() -> None:
    assert first_jump([layer("a")]) is None
    over = layer("b", cost=np.inf, error=np.inf, largest=90000.0)
    assert explain([layer("a"), over]) == (
        "rounding overflows at stem.0 (conv2d, tensor 'b'), net.py:3, whose largest value is 9e+04"
    )
    more = [layer(name, cost=np.inf, largest=70000.0) for name in "cdef"]
    behind = layer("g", cost=np.inf, largest=np.inf)
    assert explain([over, behind, *more]).endswith("net.py:3, whose largest value is 7e+04; and at 2 more")
    assert "no layer stands out among 2: rounding lets the error grow to 2.0e-02" in explain(
        [layer("a"), layer("b", error=0.02)]
    )
    assert explain([]) == "no layer stands out among 0: nothing to compare"


def test_another_model_is_told_from_a_fault_in_many_layers() -> None:
    others = [layer(str(at), error=1.4, added=1.4, excess=1e4) for at in range(9)]
    right = [layer(f"right {at}") for at in range(3)]
    assert is_another([*others, replace(layer("activation"), operator="relu")])
    assert not is_another([*others[:5], *right])
    assert not is_another([replace(one, operator="gelu") for one in others])
    assert not is_another(others[:2])
    assert "this looks like another model, or other weights" in explain(others)
    assert explain([layer("a", excess=7.0)], 0.4).startswith("the error jumps at stem.0 (conv2d, tensor 'a')")
    assert explain([layer("a", excess=7.0)], 0.64) == (
        "this looks like another model: of 64% of the layers no tensor of the file has the size"
    )


def test_layers_that_could_not_be_compared_are_not_cleared() -> None:
    assert explain([layer("a", excess=7.0, error=0.5, added=0.4, skipped=3)]) == (
        "the error jumps at stem.0 (conv2d, tensor 'a'), net.py:3, or in the 3 before it that could not be compared: "
        "from 1.0e-03 ahead of them to 5.0e-01; they add 4.0e-01, rounding would 1.0e-04"
    )
