"""Statistics of batch norms that other inputs do not outgrow, however deep the model."""

from __future__ import annotations

import pytest
import torch
from fuseport.models import calibrated
from fuseport.models.conditioned import drawn_pictures, fill_conditioned_
from torch import nn

WIDTH, SIDE = 32, 8


def deep(layers: int) -> nn.Module:
    """No way around the norms, and a nonlinearity that is convex: small differences grow from layer to layer."""
    body = [nn.Conv2d(3, WIDTH, 3, stride=2, padding=1)]
    for _ in range(layers):
        body += [nn.GELU(), nn.BatchNorm2d(WIDTH), nn.Conv2d(WIDTH, WIDTH, 1)]
    return nn.Sequential(*body, nn.Flatten(2)).eval()


def filled(layers: int) -> tuple[nn.Module, list[int]]:
    """The deep model with its weights, and the widths that were tried."""
    module, tried = deep(layers), []
    original = calibrated._set_by_pass

    def noted(*given: object) -> nn.Module:
        tried.append(given[-1])
        return original(*given)  # pyright: ignore[reportArgumentType]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibrated, "_set_by_pass", noted)
        fill_conditioned_(module, picture=(3, 2 * SIDE, 2 * SIDE))
    return module, tried


def growth(module: nn.Module) -> float:
    """By how much more the answers of two neighbours differ than they do."""
    x = drawn_pictures((2, 3, 2 * SIDE, 2 * SIDE), 5)
    wide = module.double()
    with torch.no_grad():
        y, z = wide(x), wide(x * (1 + 1e-6))
    return float((z - y).norm() / y.norm()) / 1e-6


@pytest.fixture(scope="module")
def narrow() -> nn.Module:
    """A model deep enough, with the statistics that a few pictures have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibrated, "DEEP", 10_000)
        module, tried = filled(80)
    assert tried == [1]
    return module


def test_a_deep_model_is_made_wide_until_neighbours_stay_near(narrow: nn.Module) -> None:
    wide, tried = filled(80)
    assert len(tried) > 1
    assert growth(wide) < 100 < growth(narrow)


def test_the_narrow_one_does_not_fit(narrow: nn.Module) -> None:
    norms = [name for name, part in narrow.named_modules() if isinstance(part, nn.BatchNorm2d)]
    takes = (calibrated.Input("picture", (3, 2 * SIDE, 2 * SIDE)),)
    others = {"picture": drawn_pictures((4, 3, 2 * SIDE, 2 * SIDE), 9)}
    with torch.no_grad():
        assert not calibrated._fits(narrow.double(), norms, takes, others)


def test_a_model_that_fits_is_left_as_it_is() -> None:
    assert filled(3)[1] == [1]


def test_pairs_are_a_little_apart() -> None:
    pairs = calibrated._in_pairs(torch.arange(1.0, 6.0).double())
    assert torch.allclose(pairs, torch.tensor([1, 2, 1 + 3e-6, 2 + 4e-6, 5], dtype=torch.float64), rtol=0, atol=1e-12)
    assert calibrated._in_pairs(torch.tensor([1, 2, 3, 4])).tolist() == [1, 2, 1, 2]
    assert calibrated._apart(pairs[:4, None], 4) == pytest.approx(5e-6 / 5**0.5, rel=0.2)
    assert calibrated._apart(pairs[:3, None], 4) == 0
    assert calibrated._apart(torch.zeros(4, 2), 4) == 0
