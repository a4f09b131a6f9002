"""Evo-ViT: golden cases, and tokens that pass by."""

from __future__ import annotations

import pytest
import torch
from fuseport.models.tokens.evo import EvoViT
from golden_weights import image
from swag_golden import assert_golden, cases, tiny


@pytest.mark.parametrize("name", cases("evo"))
def test_golden(name: str) -> None:
    assert_golden(name)


def test_idle_tokens_and_their_scores_pass_unchanged() -> None:
    model = tiny("evo", location=1, keep_ratio=0.25)
    method, x = model.reduction, torch.randn(2, 65, 48)
    with torch.inference_mode():
        x, state = method.step(0, model.layers[0], x, method.start(x))
        behind, later = method.step(1, model.layers[1], x, state)
    assert state.scores is not None
    assert later.scores is not None
    assert later.ids.sort().values.tolist() == [list(range(1, 65))] * 2
    for picture in range(2):
        best = state.scores[picture].topk(16).indices.sort().values
        assert torch.equal(later.ids[picture, :16], best + 1)
        idle = later.ids[picture, 16:]
        assert torch.equal(behind[picture, 17:], x[picture, idle])
        assert torch.equal(later.scores[picture, 16:], state.scores[picture, idle - 1])


def test_a_ratio_of_one_is_the_plain_vit() -> None:
    x = image((1, 3, 64, 64), "A")
    with torch.inference_mode():
        assert torch.equal(tiny("evo", location=1, keep_ratio=1.0)(x), tiny()(x))


def test_the_active_count_is_cut_off_not_rounded() -> None:
    model = tiny("evo", location=2, keep_ratio=0.3)
    assert isinstance(model.reduction, EvoViT)
    assert model.reduction.active == 19  # 0.3 x 64 = 19.2
    assert [model.reduction.through(index) for index in range(5)] == [65, 65, 20, 20, 20]
    assert model.reduction.tokens() == (65,) * 5


def test_choices_are_the_active_tokens() -> None:
    with torch.inference_mode():
        _, *choices = tiny("evo", location=2, keep_ratio=0.5, choices=True)(image((2, 3, 64, 64), "A"))
    assert len(choices) == 3
    assert all(labels.sum(-1).tolist() == [33, 33] for labels in choices)
