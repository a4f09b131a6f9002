"""SMYRF: golden cases, chunks that straddle, and the limit in which it is plain attention."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from fuseport.export.proof.rounded import answers_of_rounded_values, neighbours
from fuseport.models.swag_vit import SwagViT
from fuseport.models.tokens.choose import ascending
from fuseport.models.tokens.smyrf import SMYRF, ChunkNumbers, SortedOrder
from fuseport.reparam import capture
from fuseport.validate.choices import judge_choices
from golden_weights import assert_close, image
from numpy.typing import NDArray
from swag_golden import assert_golden, cases, tiny
from torch import Tensor


@pytest.mark.parametrize("name", cases("smyrf"))
def test_golden(name: str) -> None:
    assert_golden(name)


def test_one_chunk_of_all_tokens_is_plain_attention() -> None:
    x = image((2, 3, 64, 64), "A")
    with torch.inference_mode():
        assert_close(tiny("smyrf", cluster=65, rounds=3)(x), tiny()(x), 1e-5)


def test_chunks_straddle_pictures_so_the_batch_matters() -> None:
    x = image((2, 3, 64, 64), "A")
    with torch.inference_mode():
        straddling, whole = tiny("smyrf", cluster=16, rounds=4), tiny("smyrf", cluster=13, rounds=4)
        assert (straddling(x)[1:] - straddling(x[1:])).abs().max() > 0.01
        assert_close(whole(x)[1:], whole(x[1:]), 1e-5)  # 13 divides 65: no chunk leaves its row


def test_lifted_queries_and_keys_have_one_length() -> None:
    model = tiny("smyrf", cluster=13, rounds=2)
    assert isinstance(model.reduction, SMYRF)
    order = model.reduction.order["0"]
    seen = []
    order._order = lambda lifted: seen.append(lifted) or lifted  # type: ignore[func-returns-value]
    q, k = torch.randn(2, 3, 65, 12)
    order(q, k)
    lengths = [lifted.square().sum(-1) for lifted in seen]
    assert_close(lengths[0], lengths[1], 1e-5)
    assert_close(lengths[0], lengths[0][:, :1].expand(3, 65), 1e-5)
    assert_close((seen[0] * seen[1]).sum(-1), (q * k).sum(-1), 1e-5)


def test_equal_projections_keep_their_order() -> None:
    model = tiny("smyrf", cluster=13, rounds=2)
    assert isinstance(model.reduction, SMYRF)
    for order in model.reduction.order["0"](torch.zeros(4, 65, 12), torch.zeros(4, 65, 12)):
        assert torch.equal(order, torch.arange(65).expand(2, 4, 65))


def test_the_draws_are_frozen_by_the_seed_and_are_no_part_of_the_checkpoint() -> None:
    x = image((1, 3, 64, 64), "A")
    with torch.inference_mode():
        one, again, other = (tiny("smyrf", cluster=13, rounds=2, seed=seed)(x) for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert tiny("smyrf", cluster=13).state_dict().keys() == tiny().state_dict().keys()


def test_choices_are_chunk_numbers_of_each_round_and_head() -> None:
    model = tiny("smyrf", cluster=13, rounds=3, first_layer=4, choices=True)
    with torch.inference_mode():
        _, labels = model(image((2, 3, 64, 64), "A"))
    assert labels.shape == (2, 12, 65)
    counts = torch.stack([(labels == number).sum() for number in range(1, 3 * 2 * 4 * 5 + 1)])
    assert counts.tolist() == [13] * 120


def test_chunk_numbers_are_exact_beyond_what_float32_can_count() -> None:
    rows = 2**24 + 9
    labels = ChunkNumbers(4, 1)(torch.zeros(1, rows, 1, dtype=torch.int64))
    assert labels[-10:].flatten().tolist() == [place // 4 + 1 for place in range(rows - 10, rows)]


# ---- what is judged of a file's choices -----------------------------------------------------------------------------


def judged_model(seed: int = 0) -> SwagViT:
    return tiny("smyrf", depth=2, cluster=13, rounds=8, seed=seed, choices=True)


def sorting(order: Callable[[Tensor], Tensor]) -> SwagViT:
    """The model with `order` of its keys (R, n*H, N) in the place of the right one."""
    model = judged_model()
    for module in model.modules():
        if isinstance(module, SortedOrder):
            module._order = lambda lifted, own=module: order((lifted @ own.alpha).permute(2, 0, 1))  # pyright: ignore
    return model


@pytest.fixture(scope="module")
def yardstick() -> Callable[[Sequence[NDArray]], list[str]]:
    """The verdict on a file that gives these outputs, for the choices of each layer."""
    model, x = judged_model(), image((1, 3, 64, 64), "A")
    graph = capture(model, (x,))
    with torch.no_grad():
        truth, reference = copy.deepcopy(model).double()(x.double()), model(x)
    near = neighbours(graph, (x,), "float16")

    def verdicts(outputs: Sequence[NDArray]) -> list[str]:
        return [
            judge_choices(np.asarray(truth[i]), np.asarray(reference[i]), outputs[i], [run[i] for run in near])[0]
            for i in (1, 2)
        ]

    assert verdicts(answers_of_rounded_values(graph, (x,))) == ["passed", "passed"]
    return verdicts


WRONG = {
    "other draws": lambda: judged_model(seed=1),
    "descending": lambda: sorting(lambda keys: ascending(-keys)),
    "rounds of another": lambda: sorting(lambda keys: ascending(keys.roll(1, 0))),
    "rows for rounds": lambda: sorting(lambda keys: ascending(keys.transpose(0, 1).reshape(keys.shape))),
    "cut one token later": lambda: sorting(lambda keys: ascending(keys).roll(1, -1)),
    "no sort": lambda: sorting(lambda keys: torch.arange(keys.shape[-1]).expand(keys.shape)),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_file_that_sorts_otherwise_fails(wrong: str, yardstick: Callable[[Sequence[NDArray]], list[str]]) -> None:
    with torch.no_grad():
        outputs = [output.numpy() for output in WRONG[wrong]()(image((1, 3, 64, 64), "A"))]
    assert yardstick(outputs) == ["failed", "failed"]


def test_a_file_that_counts_its_chunks_wrongly_fails(yardstick: Callable[[Sequence[NDArray]], list[str]]) -> None:
    """As one whose places in the long list end at the largest number of its precision."""
    with torch.no_grad():
        outputs = [output.numpy() for output in judged_model()(image((1, 3, 64, 64), "A"))]
    assert yardstick(outputs) == ["passed", "passed"]
    assert yardstick([np.minimum(output, 100) for output in outputs]) == ["failed", "failed"]
