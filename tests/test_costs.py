"""Costs are made when they are asked for, once, and replaced without making what is replaced."""

from __future__ import annotations

import numpy as np
import pytest
from fuseport.export.proof.costs import Costs, Key, Makers

WEIGHTS: Key = ("float16", "weights")
VALUES: Key = ("float16", "all values")


def counted(made: list[str], name: str) -> Makers:
    def make(key: Key) -> dict[str, np.ndarray]:
        made.append(f"{name} {key[1]}")
        return {"logits": np.zeros(1)}

    return {key: lambda key=key: make(key) for key in (WEIGHTS, VALUES)}


def test_a_cost_is_made_once_and_only_if_it_is_asked_for() -> None:
    made: list[str] = []
    costs = Costs(counted(made, "first"))
    assert (list(costs), len(costs), WEIGHTS in costs, made) == ([WEIGHTS, VALUES], 2, True, [])
    assert costs[WEIGHTS] is costs[WEIGHTS]
    assert made == ["first weights"]
    assert costs.get(("float32", "weights")) is None
    with pytest.raises(KeyError):
        costs["float32", "weights"]


def test_others_take_the_place_of_some_and_leave_the_rest() -> None:
    made: list[str] = []
    costs = Costs(counted(made, "first"))
    kept = costs[VALUES]
    other = costs.with_others({WEIGHTS: counted(made, "second")[WEIGHTS]})
    other.settle()
    assert other[VALUES] is kept
    assert made == ["first all values", "second weights"]
    costs.settle()
    assert made[2:] == ["first weights"]
