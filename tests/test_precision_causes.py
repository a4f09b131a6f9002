"""Why an operator must stay in float32, in words and figures."""

from __future__ import annotations

import pytest
import torch
from fuseport.export.precision.causes import Range, _joined, _range


@pytest.mark.parametrize(
    ("values", "kind", "told"),
    [
        ([3.0, -131008.0], "overflow", "values up to 1.31e+05, 2 x the range of float16"),
        ([1e-9, 1e-4], "underflow", "50% of its values are too small for float16 and become zero"),
        ([1e-9, 1.0], "rounding", "values up to 1, where float16 goes in steps of 0.000977"),
        ([30000.0], "rounding", "values up to 3e+04, where float16 goes in steps of 16"),
        ([0.0, float("-inf")], "rounding", "values up to 0, where float16 goes in steps of 0.000488"),
    ],
)
def test_a_cause(values: list[float], kind: str, told: str) -> None:
    found = _range(torch.tensor(values))
    assert found.kind == kind
    assert found.told() == told


def test_the_worst_of_what_is_read_and_made() -> None:
    assert _joined([Range(3.0), Range(7e4), Range(1.0, 0.5)]).kind == "overflow"
