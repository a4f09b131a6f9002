"""EViT: golden cases, whose attention counts, and the fused token."""

from __future__ import annotations

import pytest
import torch
from fuseport.models.swag_vit import SIZES, vit_shape
from fuseport.models.tokens.evit import EViT, MostAttended
from golden_weights import assert_close, image
from swag_golden import assert_golden, cases, tiny


@pytest.mark.parametrize("name", cases("evit"))
def test_golden(name: str) -> None:
    assert_golden(name)


def test_the_papers_class_row_is_another_method() -> None:
    q, k = torch.randn(2, 1, 4, 65, 6)
    weights, mean = MostAttended("mean")(q, k, 32)
    _, row = MostAttended("class")(q, k, 32)
    for best, scores in ((mean, weights.mean(2)), (row, weights[:, :, 0])):
        expected = scores.mean(1)[:, 1:].topk(32).indices.sort().values
        assert torch.equal(best.positions, expected)
    assert not torch.equal(mean.positions, row.positions)


def test_the_fused_token_is_the_weighted_sum_of_the_dropped() -> None:
    model = tiny("evit", keep_rate=0.5, drop_layers=(0,), fuse=True)
    method, layer, x = model.reduction, model.layers[0], torch.randn(2, 65, 48)
    assert isinstance(method, EViT)
    with torch.no_grad():
        q, k, v = layer.split(layer.norm(x))
        weights, best = method.choose(q, k, 32)
        attended = x + layer.merge(weights @ v)
        scores = weights.mean((1, 2))[:, 1:]
        expected = torch.zeros(2, 48)
        for picture in range(2):
            for token in set(range(64)) - set(best.positions[picture].tolist()):
                expected[picture] += scores[picture, token] * attended[picture, 1 + token]
        behind, state = method.step(0, layer, x, method.start(x))
        fused = behind[:, -1]
        assert_close(fused, expected + layer.feed_forward(expected[:, None])[:, 0])
    assert state.ids[:, -1].tolist() == [65, 65]


@pytest.mark.parametrize(
    ("size", "rate", "layers", "counts"),
    [
        ("l16", 0.8, (6, 12, 18), (820, 656, 525)),
        ("l16", 0.7, (6, 12, 18), (717, 502, 352)),
        ("l16", 0.5, (6, 12, 18), (512, 256, 128)),
        ("h14", 0.7, (8, 16, 24), (959, 672, 471)),
        ("h14", 0.6, (8, 16, 24), (822, 494, 297)),
        ("h14", 0.5, (8, 16, 24), (685, 343, 172)),
    ],
)
def test_patch_counts_behind_each_drop(
    size: str, rate: float, layers: tuple[int, ...], counts: tuple[int, ...]
) -> None:
    method = EViT(vit_shape(SIZES[size]), keep_rate=rate, drop_layers=layers)
    assert tuple(method.tokens()[layer] - 1 for layer in layers) == counts


def test_a_keep_rate_of_one_is_the_plain_vit() -> None:
    x = image((1, 3, 64, 64), "A")
    with torch.inference_mode():
        assert torch.equal(tiny("evit", keep_rate=1.0, drop_layers=(1, 3))(x), tiny()(x))


def test_choices_mark_the_class_token_and_the_kept_patches() -> None:
    model = tiny("evit", keep_rate=0.5, drop_layers=(1, 3), fuse=True, choices=True)
    with torch.inference_mode():
        _, first, second = model(image((2, 3, 64, 64), "A"))
    assert first.shape == second.shape == (2, 65)
    assert first[:, 1:].sum(-1).tolist() == [32, 32]
    assert (second[:, 1:] <= first[:, 1:]).all()
