"""SMYRF: golden cases, chunks that straddle, and the limit in which it is plain attention."""

from __future__ import annotations

import pytest
import torch
from fuseport.models.tokens.smyrf import SMYRF
from golden_weights import assert_close, image
from swag_golden import assert_golden, cases, tiny


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
