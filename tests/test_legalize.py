"""What is refused, what is brought into float16's range, where indices are counted, and which module a node is of."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from fuseport.export.artifact import NotConverted
from fuseport.export.lowering.legalize import indexes_beyond_int16, legalize, legalized, module_paths
from fuseport.models.tokens.choose import Decision
from programs import Net, captured, net
from torch import Tensor, nn

IMAGE = torch.zeros(1, 3, 8, 8)


class Masked(nn.Module):
    """Attention-like: numbers beyond float16 as a literal, a tensor in the code, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.tensor([0.0, -1e9, -float("inf")]))

    def forward(self, x: Tensor) -> Tensor:
        hidden = x.masked_fill(x > 0, -3e38) + torch.tensor([1e30, 2.0, float("inf")])
        return hidden + self.mask


def test_large_constants_of_a_float16_program_become_its_largest_number() -> None:
    program = captured(Masked(), torch.zeros(2, 3))
    x = torch.tensor([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.5]])
    bounded = legalize(program, precision="float16")
    largest = 65504.0
    hidden = x.masked_fill(x > 0, -largest) + torch.tensor([largest, 2.0, float("inf")])
    expected = hidden + torch.tensor([0.0, -largest, -float("inf")])
    torch.testing.assert_close(bounded.module()(x), expected, equal_nan=True)


def test_a_float32_program_and_the_one_given_keep_their_constants() -> None:
    program, x = captured(Masked(), torch.zeros(2, 3)), torch.tensor([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.5]])
    legalize(program, precision="float16")
    for kept in (program, legalize(program, precision="float32")):
        torch.testing.assert_close(kept.module()(x), Masked()(x), equal_nan=True)


class Far(Decision):
    """Where its numbers lie among those of a long list, of which float16 has no notion."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("start", torch.tensor([0.0, 70_000.0, 221_000.0]))

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.start + 1e6).to(torch.int32)


def test_constants_of_a_choice_are_those_of_the_model() -> None:
    program, x = captured(Far(), torch.zeros(2, 3)), torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    torch.testing.assert_close(legalize(program, precision="float16").module()(x), Far()(x))


def test_a_weight_that_float16_cannot_hold_is_refused() -> None:
    module = Net()
    module.stem.weight.data[0, 0, 0, 0] = 1e5
    program = captured(module, IMAGE)
    with pytest.raises(
        NotConverted, match=r"^the weight stem.weight has values that float16 cannot hold; ask for float32"
    ):
        legalize(program, precision="float16")
    legalize(program, precision="float32")


@pytest.mark.parametrize(
    ("keyword", "function"),
    [
        ("dtype=torch.int32", lambda x: x.sum(1, dtype=torch.int32)),
        ("dtype=torch.float64", lambda x: x.mean(1, dtype=torch.float64)),
        ("sorter=", lambda x: torch.searchsorted(x[0], x[0], sorter=torch.tensor([2, 1, 0]))),
    ],
)
def test_an_argument_that_would_be_ignored_is_refused(keyword: str, function) -> None:
    class Inner(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return function(x)

    module = nn.Sequential(nn.Identity(), Inner())
    with pytest.raises(NotConverted, match=f"coremltools would ignore {keyword}") as caught:
        legalize(captured(module, torch.rand(2, 3)))
    assert " in 1; leave it out there" in str(caught.value)


def test_an_argument_that_changes_nothing_is_not_refused() -> None:
    class Sum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sum(1, dtype=torch.float32)

    legalize(captured(Sum(), torch.rand(2, 3)))


@pytest.mark.parametrize(("entries", "beyond"), [(32767, False), (32768, True)])
def test_indices_that_16_bits_cannot_count(entries: int, beyond: bool) -> None:
    class Pick(nn.Module):
        def forward(self, x: Tensor, at: Tensor) -> Tensor:
            return x[at]

    program = captured(Pick(), torch.rand(entries), torch.tensor([1, 2]))
    assert indexes_beyond_int16(legalize(program)) is beyond
    assert not indexes_beyond_int16(captured(nn.ReLU(), torch.rand(entries)))


def test_a_node_is_of_the_module_that_called_it() -> None:
    program = legalize(net())
    paths = module_paths(program)
    assert (paths["conv2d"], paths["sqrt"], paths["linear"], paths["relu"]) == ("stem", "norm", "head", "")


def test_without_module_calls_a_node_is_of_the_module_whose_weight_it_reads() -> None:
    flat = torch.export.export(net().module(), (IMAGE,))
    program = legalize(flat)
    paths = module_paths(program)
    assert (paths["conv2d"], paths["linear"], paths["relu"]) == ("stem", "head", "")


def test_the_program_is_left_as_it_was() -> None:
    program = net()
    before = str(program)
    legalize(program, precision="float16")
    assert str(program) == before


def test_what_float16_cannot_hold_is_shared_with_no_other_precision() -> None:
    program, x = captured(Masked(), torch.zeros(2, 3)), torch.tensor([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.5]])
    first = legalized(program, precision="float16")
    assert legalized(program, precision="float16") is first
    assert legalized(program, precision="float16", float32=("add",)) is not first
    torch.testing.assert_close(legalized(program).module()(x), Masked()(x), equal_nan=True)


def test_what_was_legalized_is_kept_as_long_as_the_program() -> None:
    program = captured(nn.ReLU(), torch.zeros(1, 3))
    first = legalized(program, precision="float16", float32=("relu",))
    assert legalized(program, precision="float16") is first
    assert legalized(program) is first
    gone = weakref.ref(program)
    del program, first
    gc.collect()
    assert gone() is None
