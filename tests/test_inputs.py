"""Inputs as they are told, and how they come to a model's forward."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fuseport.models.inputs import Given, Input, InputError, batch_of, bind, given_as, handed, parse, renamed
from torch import Tensor, nn


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(30, 4)
        self.places = nn.Embedding(8, 4)

    def forward(self, image: Tensor, ids: Tensor, scale: float = 1.0, *, mask: Tensor | None = None) -> Tensor:
        return image


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("1,3,224,224", Given("", (1, 3, 224, 224))),
        ("mask=2,16:bool", Given("mask", (2, 16), "bool")),
        ("ids=1,16:int64:30522", Given("ids", (1, 16), "int64", 30522)),
    ],
)
def test_an_input_is_read(text: str, given: Given) -> None:
    assert parse(text) == given


@pytest.mark.parametrize("text", ["", "a,b", "1,-3", "1,0,2", "=1,3", "1,3:float", "1,3:int64:many", "1,,3", "x="])
def test_what_is_no_shape_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="cannot read the input shape"):
        parse(text)


def _taken(*texts: str) -> list[tuple[str, bool]]:
    return [(one.name, one.keyword) for one in bind(Net(), tuple(map(parse, texts)))]


def test_inputs_find_their_parameters() -> None:
    plain = [("image", False), ("ids", False)]
    assert _taken("1,3,8,8", "1,7:int64") == plain
    assert _taken("ids=1,7:int64", "image=1,3,8,8") == plain, "names find their places, in any order"
    assert _taken("ids=1,7:int64", "1,3,8,8") == plain, "what has no name takes the parameter that is left"
    assert _taken("1,3,8,8", "1,7:int64", "mask=1,7:bool") == [*plain, ("mask", True)]
    assert _taken("picture=1,3,8,8", "words=1,7:int64") == [("picture", False), ("words", False)], "names for the files"


def test_values_are_handed_over_by_place_and_by_name() -> None:
    inputs = bind(Net(), tuple(map(parse, ("1,3,8,8", "1,7:int64", "mask=1,7:bool"))))
    assert handed(inputs, {"image": 1, "ids": 2, "mask": 3}) == ((1, 2), {"mask": 3})


def test_whole_numbers_stay_below_the_smallest_embedding() -> None:
    assert [one.limit for one in bind(Net(), tuple(map(parse, ("1,3,8,8", "1,7:int64"))))] == [None, 8]
    assert bind(nn.Linear(2, 2), (parse("1,7:int64"),))[0].limit == 2
    assert bind(Net(), (parse("1,3,8,8:uint8"),))[0].limit == 256
    assert bind(Net(), (parse("1,7:int64:30"),))[0].limit == 30


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ((), "give each, batch first, as in --input-shape image=1,3,224,224"),
        (("image=1,3,8,8", "maks=1,7:bool"), "forward has no parameter 'maks'; it has image, ids, scale, mask"),
        (("a=1,3,8,8", "a=1,3,8,8"), "names of the inputs must differ; got a, a"),
    ],
)
def test_inputs_that_do_not_fit(texts: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        bind(Net(), tuple(map(parse, texts)))


def test_one_batch_for_all() -> None:
    assert batch_of((parse("2,3"), parse("2,5"))) == 2
    with pytest.raises(InputError, match="the same for all; got 1 and 2"):
        batch_of((parse("1,3"), parse("2,5")))


def test_an_only_input_can_be_renamed() -> None:
    (one,) = renamed((Input("x", (3,)),), "picture")
    assert one.name == "picture"
    with pytest.raises(InputError, match="for a single input"):
        renamed((Input("x", (3,)), Input("y", (3,))), "picture")


@pytest.mark.parametrize(
    ("example", "given"),
    [
        (torch.zeros(2, 3), Given("x", (2, 3))),
        (torch.tensor([[4, 9]]), Given("x", (1, 2), "int64", 10)),
        (torch.tensor([[True]]), Given("x", (1, 1), "bool")),
    ],
)
def test_an_example_tells_its_input(example: Tensor, given: Any) -> None:
    assert given_as("x", example) == given


def test_an_example_of_a_kind_that_no_file_takes() -> None:
    with pytest.raises(InputError, match="example input x is complex64; expected float32"):
        given_as("x", torch.zeros(1, dtype=torch.complex64))
