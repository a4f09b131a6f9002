"""A wrong preparation of the input is named, each kind by its own clause, and a wrong network is not."""

from __future__ import annotations

import numpy as np
import pytest
from fuseport.validate.pictures import pictures
from fuseport.validate.preparation import MISTAKES, SWAPPED, SWAPPED_LATE, Prepared, explain_preparation

MEAN, STD = (0.48, 0.45, 0.41), (0.23, 0.22, 0.225)
PIXELS = pictures(3, 8, 8, seed=0).astype(np.float64)
SHAPE = (1, 3, 1, 1)
RIGHT = Prepared(PIXELS, np.reshape(MEAN, SHAPE), np.reshape(STD, SHAPE))
SWAPPED_PIXELS = Prepared(PIXELS[:, ::-1], RIGHT.mean, RIGHT.std)
WEIGHTS = np.random.default_rng(0).normal(size=(3 * 8 * 8, 10))


def model(x: np.ndarray) -> dict[str, np.ndarray]:
    """Linear, bent so that scales and shifts of the input cannot be read off the output."""
    hidden = x.reshape(len(x), -1) @ WEIGHTS
    return {"logits": np.tanh(hidden / 20) + 0.1 * np.sin(hidden)}


def explained(artifact: np.ndarray) -> str | None:
    truth = model(RIGHT.normalised)
    return explain_preparation(model, PIXELS, MEAN, STD, truth=truth, artifact={"logits": artifact})


@pytest.mark.parametrize(("told", "mistake"), MISTAKES, ids=[told for told, _ in MISTAKES])
def test_each_mistake_is_named_even_under_rounding(told: str, mistake: object) -> None:
    wrong = model(mistake(RIGHT))["logits"]  # pyright: ignore
    assert explained(wrong.astype(np.float16)) == told


@pytest.mark.parametrize(
    ("told", "reaches"),
    [
        (SWAPPED, SWAPPED_PIXELS.normalised),
        (SWAPPED_LATE, RIGHT.normalised[:, ::-1]),
        (f"{SWAPPED}, and {MISTAKES[0][0]}", MISTAKES[0][1](SWAPPED_PIXELS)),
    ],
)
def test_exchanged_channels_are_named_alone_and_with_another_mistake(told: str, reaches: np.ndarray) -> None:
    assert explained(model(reaches)["logits"]) == told


@pytest.mark.parametrize(("share", "named"), [(0.01, True), (0.035, True), (0.08, False)])
def test_what_rounding_costs_may_be_left_as_well_but_never_much(share: float, named: bool) -> None:
    """A mistake that moves the outputs by little leaves the file's own rounding beside it."""
    truth, wrong = model(RIGHT.normalised)["logits"], model(SWAPPED_PIXELS.normalised)["logits"]
    noise = np.random.default_rng(1).normal(size=truth.shape)
    noise *= share * np.linalg.norm(wrong - truth) / np.linalg.norm(noise)
    rounded = {"logits": truth + noise}
    options = {"truth": {"logits": truth}, "artifact": {"logits": wrong + noise}}
    assert (explain_preparation(model, PIXELS, MEAN, STD, **options, rounded=rounded) == SWAPPED) is named
    assert (explain_preparation(model, PIXELS, MEAN, STD, **options) == SWAPPED) is (share < 0.02)


def test_a_wrong_network_is_not_put_down_to_the_preparation() -> None:
    truth = model(RIGHT.normalised)["logits"]
    noise = np.random.default_rng(1).normal(size=truth.shape)
    for wrong in (truth + 0.1 * noise, 2 * truth, truth[:, ::-1], np.zeros_like(truth), truth * np.nan, truth):
        assert explained(wrong) is None


def test_grey_pictures_have_no_red_and_blue() -> None:
    grey = PIXELS[:, :1]
    right = (grey - 0.5) / 0.25
    run = lambda x: {"logits": np.tanh(x.reshape(len(x), -1) @ WEIGHTS[:64] / 20)}  # noqa: E731
    found = explain_preparation(run, grey, (0.5,), (0.25,), truth=run(right), artifact=run(grey / 0.25))
    assert found == "the mean is not subtracted"
