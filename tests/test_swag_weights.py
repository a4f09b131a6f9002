"""Checkpoints: torchvision's names, another resolution, another size."""

from __future__ import annotations

import pytest
import torch
import torchvision
from fuseport.models.swag_vit import SIZES, SwagViT
from fuseport.models.swag_weights import POSITIONS, fitted, from_torchvision, is_torchvision, resized_positions
from golden_weights import assert_close, image, weight
from swag_golden import CASES, TINY, golden_model, pictures, tiny


def test_golden_resized_position_embedding() -> None:
    model, case = golden_model("vit_pos_interp"), CASES["vit_pos_interp"]
    smaller = {**model.state_dict(), POSITIONS: torch.from_numpy(weight(POSITIONS, (65, 1, 48), "A"))}
    weights, notes = fitted(smaller, model)
    assert notes == ("position embedding resized from 65 to 145 tokens",)
    model.load_state_dict(weights)
    with torch.inference_mode():
        assert_close(model(pictures("vit_pos_interp")), torch.tensor(case["logits"]))


def test_resizing_keeps_the_class_token_the_corners_and_its_argument() -> None:
    positions = torch.randn(17, 1, 6)
    before = {POSITIONS: positions.clone()}
    larger = resized_positions(before[POSITIONS], (7, 7))
    assert torch.equal(before[POSITIONS], positions)
    assert torch.equal(larger[0], positions[0])
    corners = larger[1:].reshape(7, 7, 6)[::6, ::6]
    assert_close(corners, positions[1:].reshape(4, 4, 6)[::3, ::3], 1e-6)
    assert resized_positions(positions.half(), (7, 7)).dtype == torch.float16


def test_torchvisions_vit_gives_the_same_logits_with_mapped_weights() -> None:
    theirs = torchvision.models.VisionTransformer(64, 8, 5, 4, 48, 96, num_classes=16).eval()
    torch.manual_seed(0)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    state = theirs.state_dict()
    assert is_torchvision(state)
    model = SwagViT(TINY, num_classes=16).eval()
    assert not is_torchvision(model.state_dict())
    mapped = from_torchvision(state)
    assert mapped.keys() == model.state_dict().keys()
    model.load_state_dict(mapped)
    x = image((2, 3, 64, 64), "A")
    with torch.inference_mode():
        assert_close(model(x), theirs(x), 1e-5)


def test_official_keys_pass_unchanged() -> None:
    state = tiny().state_dict()
    assert all(from_torchvision(state)[key] is value for key, value in state.items())


def test_a_checkpoint_of_another_size_is_named() -> None:
    with torch.device("meta"):
        large, small = SwagViT(SIZES["l16"]), SwagViT(SIZES["b16"])
    line = (
        r"^the checkpoint is ViT-L/16 \(vit_l16_in1k\) of patch 16, width 1024 and 24 layers; the model is ViT-B/16"
        r" of patch 16, width 768 and 12 layers: choose the variant of the checkpoint's size$"
    )
    with pytest.raises(ValueError, match=line):
        fitted(large.state_dict(), small)
    with pytest.raises(ValueError, match=r"^the checkpoint is a ViT of patch 8, width 48 and 5 layers; the model is"):
        fitted(tiny().state_dict(), small)


@pytest.mark.parametrize("shape", [(1, 65, 48), (64, 1, 48), (65, 48)])
def test_positions_without_a_square_grid_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must have the shape \(1 \+ side \* side, 1, width\).*; got \("):
        fitted({**tiny().state_dict(), POSITIONS: torch.zeros(shape)}, tiny())
