"""The contract of all methods: what they share, on pictures of every kind."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fuseport.models.tokens import METHODS, create
from fuseport.models.tokens.layer import Reduction, ViTShape, run_layers, run_with_choices
from golden_weights import assert_close, image
from swag_golden import tiny
from torch import Tensor

SETTINGS: dict[str, dict[str, Any]] = {
    "none": {},
    "hourglass": {"location": 1, "clusters": 25},
    "evit": {"keep_rate": 0.7, "drop_layers": (1, 3), "fuse": True},
    "tome": {"r": 6},
    "act": {"q_hashes": 6},
    "ats": {"layers": (1, 3), "token_bound": 48},
    "evo": {"location": 1, "keep_ratio": 0.5},
    "smyrf": {"cluster": 13, "rounds": 3},
}
every_method = pytest.mark.parametrize("method", SETTINGS)


def constant(value: float = 0.5) -> Tensor:
    return torch.full((1, 3, 64, 64), value)


def test_every_method_is_in_the_contract() -> None:
    assert list(SETTINGS) == ["none", *(method.NAME for method in METHODS)]


@every_method
def test_no_method_adds_to_the_checkpoint(method: str) -> None:
    assert tiny(method, **SETTINGS[method]).state_dict().keys() == tiny().state_dict().keys()


@every_method
def test_the_announced_token_counts_are_the_real_ones(method: str) -> None:
    model, x = tiny(method, **SETTINGS[method]), torch.randn(2, 65, 48)
    state, counts = model.reduction.start(x), []
    with torch.inference_mode():
        for index, layer in enumerate(model.layers):
            x, state = model.reduction.step(index, layer, x, state)
            counts.append(x.shape[1])
    assert tuple(counts) == model.reduction.tokens()


@every_method
def test_a_picture_does_not_depend_on_its_batch(method: str) -> None:
    """SMYRF's chunks of 13 do not straddle the rows of 65 tokens here; `test_tokens_smyrf` has those that do."""
    model, x = tiny(method, **SETTINGS[method]), image((3, 3, 64, 64), "A")
    with torch.inference_mode():
        assert_close(model(x)[2:], model(x[2:]), 1e-5)


@every_method
def test_a_second_call_sees_nothing_of_the_first(method: str) -> None:
    model, x = tiny(method, **SETTINGS[method]), image((2, 3, 64, 64), "A")
    with torch.inference_mode():
        first = model(x)
        model(x[1:])
        assert torch.equal(model(x), first)


@every_method
def test_choices_are_labels_of_the_original_tokens(method: str) -> None:
    model, x = tiny(method, **SETTINGS[method]), image((2, 3, 64, 64), "A")
    with torch.inference_mode():
        tokens, chosen = run_with_choices(model.reduction, model.layers, model.embed(x))
        assert torch.equal(tokens, run_layers(model.reduction, model.layers, model.embed(x)))
    assert bool(chosen) == (method not in ("none", "hourglass"))
    for labels in chosen.values():
        assert labels.dtype == torch.int32
        assert (labels.shape[0], labels.shape[-1]) == (2, 65)
        assert (labels >= 0).all()


@every_method
def test_half_precision_runs_and_stays_near(method: str) -> None:
    """Where a choice flips the logits jump, so the bound is wide; without a method it is narrow."""
    model, x = tiny(method, **SETTINGS[method]), image((2, 3, 64, 64), "A")
    with torch.inference_mode():
        expected = model(x)
        half = model.half()(x.half())
    assert half.dtype == torch.float16
    assert_close(half, expected, 0.01 if method in ("none", "hourglass") else 0.5)


# ---- ties -----------------------------------------------------------------------------------------------------------


@every_method
@pytest.mark.parametrize("value", [0.0, 0.5])
def test_a_constant_picture_gives_finite_logits_and_the_same_ones_again(method: str, value: float) -> None:
    model = tiny(method, **SETTINGS[method])
    with torch.inference_mode():
        logits = model(constant(value))
        assert logits.isfinite().all()
        assert torch.equal(logits, tiny(method, **SETTINGS[method])(constant(value)))


def test_merging_equal_patches_changes_nothing() -> None:
    """Without positions all patches of a constant picture are equal: whichever merge, their sizes make up for it."""
    with torch.inference_mode():
        merged, plain = tiny("tome", r=9), tiny()
        for model in (merged, plain):
            model.encoder.pos_embedding.zero_()
        assert_close(merged(constant()), plain(constant()), 1e-5)


def test_equal_tokens_are_kept_from_the_first_on() -> None:
    """Every token the same, bit by bit, so that every score is: EViT keeps the first patches, ToMe merges the first."""
    x = torch.ones(1, 9, 8)
    shape = ViTShape((2, 4), 8, 2, 2)
    layer = EqualTokens()
    with torch.inference_mode():
        for method, options, kept in (
            ("evit", {"keep_rate": 0.5, "drop_layers": (0,)}, [0, 1, 2, 3, 4]),
            ("tome", {"r": 2}, [0, 1, 3, 5, 6, 7, 8]),
            ("evo", {"location": 1, "keep_ratio": 0.5}, [0, 1, 2, 3, 4]),
            ("ats", {"layers": (0,)}, [0, 2, 3, 4, 5, 6, 7, 8]),
        ):
            reduction = create(method, shape, **options)
            _, chosen = run_with_choices(reduction, [layer, layer][: 2 if method == "evo" else 1], x)
            (labels,) = chosen.values()
            assert labels[0].nonzero()[:, 0].tolist() == kept, method


class EqualTokens:
    """A layer that hands on what it gets: two heads of four channels."""

    def norm(self, x: Tensor) -> Tensor:
        return x

    def split(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        heads = y.reshape(y.shape[0], y.shape[1], 2, 4).transpose(1, 2)
        return heads, heads, heads

    def merge(self, heads: Tensor) -> Tensor:
        return heads.transpose(1, 2).flatten(2)

    def feed_forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


@every_method
def test_the_static_form_is_put_in_words(method: str) -> None:
    text = tiny(method, **SETTINGS[method]).reduction.static_form()
    assert text.endswith(".")
    assert ("seed 0" in text) == (method in ("act", "smyrf"))
    assert ("48 tokens" in text) == (method == "ats")
    assert "\n" not in text


def test_the_static_form_says_when_a_batch_mixes_and_what_is_masked() -> None:
    assert "depends on its batch" in tiny("smyrf", cluster=16, rounds=4).reduction.static_form()
    assert "masked, not removed" in tiny("ats", layers=(1,)).reduction.static_form()


def test_the_plain_reduction_keeps_everything() -> None:
    shape = ViTShape((4, 4), 8, 2, 3)
    assert Reduction[None](shape).tokens() == (17, 17, 17)
    assert (shape.patches, shape.tokens, shape.head_width) == (16, 17, 4)
