"""ATS: golden cases, the sampling against a loop, the token bound."""

from __future__ import annotations

import pytest
import torch
from fuseport.models.tokens.ats import ATS, Sample
from golden_weights import assert_close, image
from swag_golden import CASES, assert_golden, cases, golden_model, pictures, tiny
from torch import Tensor


@pytest.mark.parametrize("name", cases("ats"))
def test_golden(name: str) -> None:
    assert_golden(name)


def test_the_first_picture_of_the_batch_that_cannot_match_does() -> None:
    """In the seed it is the longer one, without padding; ours is independent of the batch for both."""
    x = pictures("ats_multi_drop_b2")
    model = golden_model("ats_multi_drop_b2")
    with torch.inference_mode():
        assert_close(model(x)[0], torch.tensor(CASES["ats_multi_drop_b2"]["logits"][0]))
        assert_close(model(x)[1:], model(x[1:]), 1e-5)


def by_sorting(scores: Tensor, heights: int) -> set[int]:
    """The picks by the rule's own words: sort, cumulate, rescale, and read at the heights."""
    order = sorted(range(len(scores)), key=lambda j: (float(scores[j]), j))
    total = scores[order].double().cumsum(0)
    level = (total - total[0]) / (total[-1] - total[0])
    first = float(level[level > 0].min())
    readings = [first + t * (1 - first) / (heights - 1) for t in range(heights)]
    return {order[min(range(len(order)), key=lambda j: abs(float(level[j]) - y))] for y in readings}


@pytest.mark.parametrize("sharpness", [0.1, 2.0, 6.0])
def test_picks_equal_those_of_the_rule(sharpness: float) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(10):
        scores = (sharpness * torch.randn(1, 30, generator=generator)).softmax(-1)
        picked = Sample(31, 31)._pick(scores, torch.ones_like(scores))
        assert set(picked[0].nonzero()[:, 0].tolist()) == by_sorting(scores[0], 30)


def test_dead_tokens_change_nothing() -> None:
    scores = torch.randn(1, 20).softmax(-1)
    padded = torch.cat((torch.zeros(1, 5), scores, torch.zeros(1, 3)), dim=1)
    live = (padded > 0).float()
    picked = Sample(21, 21)._pick(padded, live)
    assert torch.equal(picked[:, 5:25], Sample(21, 21)._pick(scores, torch.ones_like(scores)))
    assert not picked[:, :5].any()
    assert not picked[:, 25:].any()


def test_equal_scores_leave_the_first_token_out_and_keep_the_others() -> None:
    picked = Sample(11, 11)._pick(torch.full((1, 10), 0.1), torch.ones(1, 10))
    assert picked.tolist() == [[False] + [True] * 9]


def test_one_last_patch_token_stays() -> None:
    assert Sample(11, 11)._pick(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 1.0]])).tolist() == [[False, True]]


def test_a_bound_that_holds_all_kept_tokens_changes_nothing() -> None:
    exact = golden_model("ats_multi_drop")
    assert isinstance(exact.reduction, ATS)
    bounded = golden_model("ats_multi_drop")
    bounded.reduction = ATS(exact.shape, layers=exact.reduction.layers, token_bound=35)
    x = pictures("ats_multi_drop")
    with torch.inference_mode():
        assert_close(bounded(x), exact(x), 1e-5)
    assert bounded.reduction.tokens() == (65, 35, 35, 35, 35)


def test_a_bound_below_keeps_the_best_scored_and_the_class_token() -> None:
    scores = torch.tensor([[0.3, 0.1, 0.4, 0.15, 0.05]])
    mask = torch.ones(1, 6)
    sample = Sample(6, 3)
    sample._pick = lambda scores, live: torch.tensor([[True, True, False, True, False]])  # type: ignore[method-assign]
    k = torch.zeros(1, 1, 6, 4)
    v = torch.cat((torch.zeros(1, 1), scores), 1)[:, None, :, None]
    picked, slots = sample(k[:, :, :1], k, v, mask)
    assert slots is not None
    assert slots.tolist() == [[0, 1, 4]]
    assert picked.tolist() == [[1, 1, 1, 0, 1, 0]]


def test_the_papers_residual_is_another_model() -> None:
    x = image((1, 3, 64, 64), "A")
    with torch.inference_mode():
        seed, paper = (tiny("ats", layers=(2,), residual=residual)(x) for residual in ("norm", "input"))
    assert (seed - paper).abs().max() > 0.1


def test_choices_are_the_live_tokens() -> None:
    case = CASES["ats_multi_drop"]
    model = golden_model("ats_multi_drop", choices=True)
    with torch.inference_mode():
        _, *choices = model(pictures("ats_multi_drop"))
    assert [int(labels.sum()) for labels in choices] == [case["layers"][i]["tokens"] for i in (1, 2, 3)]
    assert all(labels[0, 0] == 1 for labels in choices)
