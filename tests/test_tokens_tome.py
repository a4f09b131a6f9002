"""ToMe: golden cases, the merge against a loop, and the schedules."""

from __future__ import annotations

import pytest
import torch
from fuseport.models.swag_vit import SIZES, vit_shape
from fuseport.models.tokens.tome import Match, Merged, ToMe, _merge
from golden_weights import assert_close, image
from swag_golden import assert_golden, cases, tiny

L16 = vit_shape(SIZES["l16"])


@pytest.mark.parametrize("name", cases("tome"))
def test_golden(name: str) -> None:
    assert_golden(name)


@pytest.mark.parametrize(("tokens", "r"), [(9, 1), (9, 4), (10, 4), (33, 7)])
def test_the_merge_equals_a_loop_over_the_pairs(tokens: int, r: int) -> None:
    torch.manual_seed(tokens)
    x, k = torch.randn(1, tokens, 6), torch.randn(1, 2, tokens, 4)
    sizes = torch.randint(1, 5, (1, tokens)).float()
    merged, state = _merge(x, Merged(sizes, torch.arange(tokens)[None]), Match()(k, r))

    metric = torch.nn.functional.normalize(k.mean(1)[0], dim=-1)
    a, b = list(range(0, tokens, 2)), list(range(1, tokens, 2))
    best = {i: max(b, key=lambda j: float(metric[i] @ metric[j])) for i in a[1:]}
    sources = sorted(best, key=lambda i: -float(metric[i] @ metric[best[i]]))[:r]
    left = [i for i in a if i not in sources] + b
    expected, weights = [], []
    for token in left:
        group = [token] + [i for i in sources if best[i] == token]
        weights.append(sizes[0, group].sum())
        expected.append((sizes[0, group, None] * x[0, group]).sum(0) / weights[-1])
    assert state.ids[0].tolist() == left
    assert state.sizes is not None
    assert_close(state.sizes[0], torch.stack(weights), 1e-6)
    assert_close(merged[0], torch.stack(expected), 1e-6)


def test_equal_keys_merge_the_earliest_into_the_first() -> None:
    pairs = Match()(torch.ones(1, 2, 9, 4), 2)
    assert pairs.sources.tolist() == [[0, 1]]  # positions 2 and 4: the class token never merges
    assert pairs.others.tolist() == [[2, 3]]
    assert pairs.into.tolist() == [[[1, 1], [0, 0], [0, 0], [0, 0]]]


def test_the_sizes_of_all_tokens_always_add_up_to_all_tokens() -> None:
    model, x = tiny("tome", r=9), torch.randn(2, 65, 48)
    state = model.reduction.start(x)
    with torch.inference_mode():
        for index, layer in enumerate(model.layers):
            x, state = model.reduction.step(index, layer, x, state)
            assert_close(state.sizes.sum(-1), torch.tensor([65.0, 65.0]), 1e-6)


@pytest.mark.parametrize(
    ("given", "schedule"),
    [
        ({"r": 10}, (10,) * 24),
        ({"r": (4, 8)}, (4, 8) + (0,) * 22),
        ({"r": "4,8,16"}, (4, 8, 16) + (0,) * 21),
        ({"r": 10, "inflect": 0.0}, (10,) * 24),
        ({"r": 23, "inflect": 1.0}, tuple(range(0, 47, 2))),
        ({"r": 23, "inflect": -1.0}, tuple(range(46, -1, -2))),
    ],
)
def test_schedules(given: dict, schedule: tuple[int, ...]) -> None:
    assert ToMe(L16, **given).schedule == schedule


@pytest.mark.parametrize(("r", "left"), [(10, 785), (20, 545), (40, 65), (1000, 2)])
def test_token_counts_stop_when_no_pair_is_left_beside_the_class_token(r: int, left: int) -> None:
    assert ToMe(L16, r=r).tokens()[-1] == left


def test_without_merging_it_is_the_plain_vit_and_a_second_call_sees_nothing_of_the_first() -> None:
    x = image((2, 3, 64, 64), "A")
    with torch.inference_mode():
        assert_close(tiny("tome", r=0)(x), tiny()(x), 1e-6)
        model = tiny("tome", r=6)
        first = model(x)
        model(x[1:])
        assert torch.equal(model(x), first)
