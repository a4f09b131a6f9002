"""Checkpoints matched to variants: layouts, heads, and the account of what does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from contract import FULL_SIZE
from fuseport import models
from fuseport.models.checkpoint import Checkpoint
from fuseport.models.fit import Fitted, fit
from fuseport.models.variant import Variant
from fuseport.models.weights_file import CheckpointError
from torch import Tensor

SHVIT, SWIFT = "shvit_s1", "swiftformer_xs"


def _weights(name: str, **options: Any) -> dict[str, Tensor]:
    """A state dict of shapes: what fits is decided without looking at a number."""
    with torch.device("meta"):
        return models.create(name, **options).state_dict()


def _fit(tensors: dict[str, Tensor], name: str, **options: Any) -> Fitted:
    return fit(Checkpoint(tensors, Path("weights.pth"), "", "torch zip"), models.find(name), **options)


def _refusal(tensors: dict[str, Tensor], name: str, **options: Any) -> str:
    with pytest.raises(CheckpointError) as caught:
        _fit(tensors, name, **options)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("weights.pth")
    return str(caught.value)


@pytest.mark.parametrize("name", FULL_SIZE)
def test_official_and_timm_layouts(name: str) -> None:
    variant = models.find(name)
    fitted = _fit(_weights(name), name)
    assert (fitted.layout, fitted.num_classes, fitted.in_chans, fitted.notes) == ("official", 1000, 3, ())
    assert variant.timm
    with torch.device("meta"):
        theirs = timm.create_model(variant.timm).state_dict()
    fitted = _fit(theirs, name)
    assert fitted.layout == "timm"
    assert fitted.tensors.keys() == fitted.skeleton.state_dict().keys()


@pytest.mark.parametrize("name", ["vit_b16_in1k", "tome_vit_b16_in1k"])
def test_torchvisions_layout_and_resolution(name: str) -> None:
    """The same weights of another publisher, made for 224 pixels: only the position embedding is another."""
    with torch.device("meta"):
        theirs = torchvision.models.vit_b_16(num_classes=7).state_dict()
    fitted = _fit(theirs, name)
    assert (fitted.layout, fitted.num_classes) == ("torchvision", 7)
    assert fitted.notes == ("position embedding resized from 197 to 577 tokens",)
    assert fitted.tensors.keys() == fitted.skeleton.state_dict().keys()
    assert _fit(theirs, name, options={"image_size": 224}).notes == ()
    assert _fit(_weights("vit_b16_in1k"), name).layout == "official"


def test_the_size_of_a_vit_is_named() -> None:
    message = _refusal(_weights("vit_l16_in1k"), "tome_vit_b16_in1k")
    assert message.startswith("weights.pth: the checkpoint is ViT-L/16 (vit_l16_in1k) of patch 16, width 1024 and 24")
    assert _refusal(_weights("vit_l16_in1k", image_size=224), SHVIT).endswith("it fits vit_l16_in1k")
    assert _refusal(_weights("ats_vit_b16_in1k"), SHVIT).endswith("it fits vit_b16_in1k")
    assert _refusal(_weights("vit_b16_in1k", num_classes=0), "vit_b16_in1k").endswith(
        "it fits vit_b16_in1k with num_classes=0"
    )


@pytest.mark.parametrize("name", [SHVIT, SWIFT])
@pytest.mark.parametrize("distillation", [True, False])
def test_classes_and_second_head_are_read_off(name: str, distillation: bool) -> None:
    fitted = _fit(_weights(name, num_classes=10, distillation=distillation), name)
    assert fitted.num_classes == 10
    assert fitted.options == {"distillation": distillation}
    assert fitted.skeleton.state_dict().keys() == fitted.tensors.keys()


def test_classes_that_contradict() -> None:
    tensors = _weights(SHVIT, num_classes=10)
    assert _fit(tensors, SHVIT, num_classes=10).num_classes == 10
    assert "its classifier has 10 classes, but 1000 were asked for" in _refusal(tensors, SHVIT, num_classes=1000)


def test_channels_that_contradict() -> None:
    tensors = _weights(SWIFT, in_chans=1)
    assert _fit(tensors, SWIFT, in_chans=1).in_chans == 1
    assert "has in_chans=1, but in_chans=3 was asked for; pass --in-chans 1" in _refusal(tensors, SWIFT)


def test_a_second_head_that_contradicts() -> None:
    message = _refusal(_weights(SWIFT), SWIFT, options={"distillation": False})
    assert "2 unexpected (dist_head.weight, dist_head.bias)" in message
    assert message.endswith("it fits swiftformer_xs")


@pytest.mark.parametrize(("name", "asked"), [(SHVIT, {"num_classes": 0}), (SHVIT, {"options": {"features": True}})])
def test_an_unwanted_classifier_is_left_out(name: str, asked: dict[str, Any]) -> None:
    fitted = _fit(_weights(name, num_classes=10), name, **asked)
    assert not any(key.startswith("head") for key in fitted.tensors)
    assert fitted.num_classes == 0
    assert fitted.notes == ("its classifier left out",)


def test_a_backbone_without_classifier_says_how_it_fits() -> None:
    assert _refusal(_weights(SWIFT, features=True), SWIFT).endswith("it fits swiftformer_xs with features=True")
    assert _refusal(_weights(SWIFT, num_classes=0), SWIFT).endswith("it fits swiftformer_xs with num_classes=0")
    assert _fit(_weights(SWIFT, features=True), SWIFT, options={"features": True}).num_classes == 0


def test_the_variant_that_would_fit_is_named() -> None:
    message = _refusal(_weights("shvit_s2", num_classes=7), SHVIT)
    assert "does not fit shvit_s1: keys 0 missing, 0 unexpected, " in message
    assert "of another shape (" in message
    assert message.endswith("it fits shvit_s2")
    message = _refusal(_weights("swiftformer_l1"), SHVIT)
    assert "missing (patch_embed.0.c.weight, " in message
    assert "unexpected (patch_embed.0.weight, " in message
    assert message.endswith("it fits swiftformer_l1")


def test_timm_weights_of_another_variant() -> None:
    with torch.device("meta"):
        theirs = timm.create_model("swiftformer_s", num_classes=5).state_dict()
    assert _refusal(theirs, "shvit_s4").endswith("it fits swiftformer_s")


def test_weights_of_another_model() -> None:
    with torch.device("meta"):
        theirs = timm.create_model("resnet18").state_dict()
    message = _refusal(theirs, SHVIT)
    assert "it fits no variant known here (shvit_s1, " in message
    assert f"{len(theirs)} unexpected (conv1.weight, bn1.weight, bn1.bias, …)" in message


def test_keys_are_counted() -> None:
    tensors = _weights(SHVIT)
    del tensors["blocks1.0.conv.m.c.weight"], tensors["head.l.bias"]
    tensors["extra"] = torch.ones(2)
    tensors["patch_embed.0.bn.weight"] = torch.ones(7)
    expected = (
        "keys 2 missing (blocks1.0.conv.m.c.weight, head.l.bias), 1 unexpected (extra), "
        "1 of another shape (patch_embed.0.bn.weight 7 for 16); it fits no variant"
    )
    assert expected in _refusal(tensors, SHVIT)


def test_the_key_that_was_taken_is_said() -> None:
    checkpoint = Checkpoint({"w": torch.ones(1)}, Path("w.pth"), "", "torch zip", "model", ("model_ema",))
    with pytest.raises(CheckpointError, match=r"w\.pth \(taken: key 'model'; also there: model_ema\) does not fit"):
        fit(checkpoint, models.find(SHVIT))


def test_counters_of_training_steps_may_be_missing() -> None:
    tensors = {name: value for name, value in _weights(SHVIT).items() if not name.endswith("num_batches_tracked")}
    assert _fit(tensors, SHVIT).num_classes == 1000


def test_pointwise_convolutions_stored_as_matrices() -> None:
    tensors = {
        name: value[..., 0, 0] if value.ndim == 4 and value.shape[2:] == (1, 1) else value
        for name, value in _weights(SHVIT).items()
    }
    assert any(value.ndim == 2 and ".c." in name for name, value in tensors.items())
    fitted = _fit(tensors, SHVIT)
    assert {name: value.shape for name, value in fitted.tensors.items()} == {
        name: value.shape for name, value in _weights(SHVIT).items()
    }


def test_fused_checkpoints_without_a_way_back_are_named() -> None:
    gone = (".running_mean", ".running_var", ".num_batches_tracked")
    tensors = {name: value for name, value in _weights(SWIFT).items() if not name.endswith(gone)}
    message = _refusal(tensors, SWIFT)
    assert "does not fit swiftformer_xs (already fused: it holds no batch-norm statistics)" in message
    assert message.endswith("give the checkpoint as it was before fusing")


def test_unknown_options() -> None:
    with pytest.raises(ValueError, match="has no option 'depth'"):
        _fit(_weights(SHVIT), SHVIT, options={"depth": 3})


def test_a_variant_outside_the_table() -> None:
    class Small(torch.nn.Linear):
        def __init__(self, num_classes: int, in_chans: int) -> None:
            super().__init__(in_chans, num_classes)

    variant = Variant("small", "mine", Small, models.find(SHVIT).preprocessing, 0, 0)
    fitted = fit(Checkpoint(Small(4, 3).state_dict(), Path("w.pth"), "", "torch zip"), variant)
    assert (fitted.num_classes, fitted.in_chans) == (4, 3)
