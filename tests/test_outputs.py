"""The tensors in what a model gives, and their names."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import pytest
import torch
from fuseport.models.outputs import OutputError, names, tensors
from torch import Tensor
from torch.utils._pytree import tree_leaves

A, B = torch.zeros(1, 2), torch.ones(1, 3)
Pair = namedtuple("Pair", "boxes scores")


@dataclass
class Answer:
    first: Tensor
    loss: Tensor | None
    rest: list[Tensor]


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (A, ("output",)),
        ((A,), ("output",)),
        ([A, B], ("output1", "output2")),
        ({"boxes": A, "scores": B}, ("boxes", "scores")),
        (OrderedDict(boxes=A), ("boxes",)),
        (Pair(A, B), ("boxes", "scores")),
        ({"boxes": [A, B], "aux": {"layer.1": A}}, ("boxes1", "boxes2", "aux_layer_1")),
        ((A, None, [B, (A, B)]), ("output1", "output3_1", "output3_2_1", "output3_2_2")),
        (Answer(A, None, [B]), ("first", "rest1")),
        ({"a.b": A, "a_b": B}, ("a_b_1", "a_b_2")),
    ],
)
def test_names_and_tensors_have_one_order(output: object, expected: tuple[str, ...]) -> None:
    assert names(output) == expected
    assert len(tree_leaves(tensors(output))) == len(expected)


def test_what_torch_takes_apart_stays_as_it_is() -> None:
    nested = {"boxes": [A, B]}
    assert tensors(nested) is nested
    first, second = tensors(Answer(A, None, [B]))
    assert (first is A, second is B) == (True, True)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (None, "gives NoneType without a tensor"),
        ({"loss": 3}, "gives dict without a tensor"),
        ({"a": A.half()}, "gives a in float16; expected float32"),
        (torch.zeros(1, dtype=torch.complex64), "gives output in complex64"),
    ],
)
def test_what_no_file_could_give(output: object, message: str) -> None:
    with pytest.raises(OutputError, match=message):
        names(output)
