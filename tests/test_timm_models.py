"""timm's architectures as variants: what the registry says of them, their weights, the names that do not exist."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from fuseport import models
from fuseport.models import timm_models
from fuseport.models.checkpoint import CheckpointError
from fuseport.models.loaded import load
from fuseport.models.pretrained import cached_path
from fuseport.models.variant import Download, Preprocessing
from loopback import Site, serve
from torch import nn

CONVNET = "timm/mobilenetv3_small_050"
VIT = "timm/test_vit"


def _same(first: nn.Module, second: nn.Module, size: int) -> None:
    picture = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(first(picture), second.eval()(picture), rtol=0, atol=0)


def test_a_variant_is_read_off_timms_registry() -> None:
    found = models.find("timm/resnet18.a1_in1k")
    assert (found.name, found.family, found.num_classes) == ("timm/resnet18.a1_in1k", "resnet", 1000)
    assert found.preprocessing == Preprocessing(size=224, resize=235, interpolation="bicubic")
    assert found.paper == "https://arxiv.org/abs/2110.00476"
    (which,) = found.downloads
    assert which == Download("https://huggingface.co/timm/resnet18.a1_in1k/resolve/main/model.safetensors", "timm")
    assert (found.parameters, found.macs) == (None, None)


def test_a_tag_chooses_the_training() -> None:
    sizes = {
        tag: models.find(f"timm/vit_base_patch16_clip_224.{tag}").num_classes for tag in ("openai", "laion2b_ft_in1k")
    }
    assert sizes == {"openai": 512, "laion2b_ft_in1k": 1000}
    squashed = models.find("timm/convnext_tiny.in12k_ft_in1k_384").preprocessing
    assert squashed is not None
    assert (squashed.size, squashed.resize, squashed.squash) == (384, 384, True)
    assert models.find("timm/vit_base_patch16_sapiens2").preprocessing.sides == (1024, 768)  # pyright: ignore


def test_every_architecture_is_a_variant() -> None:
    names = timm.list_models()
    assert len(names) > 1000
    families = {models.find(f"timm/{name}").family for name in names}
    assert {"resnet", "vision_transformer", "fastvit", "byobnet"} <= families


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("timm/resnet81", r"no architecture 'resnet81' \(did you mean timm/resnet18 or "),
        ("timm/Mobilenetv4", r"did you mean timm/mobilenetv4_"),
        ("timm/resnet18.a9", r"timm's resnet18 has no weights tagged 'a9'; tags: .*a1_in1k"),
        ("timm/", r"no architecture ''"),
        ("resnet18", r"unknown variant 'resnet18'.*, and timm/NAME"),
    ],
)
def test_an_unknown_name_is_told_what_comes_close(name: str, told: str) -> None:
    with pytest.raises(models.UnknownVariantError, match=told):
        models.find(name)


def test_the_head_and_the_channels_are_built_as_asked() -> None:
    made = models.create(CONVNET, num_classes=7, in_chans=4)
    assert made(torch.zeros(1, 4, 64, 64)).shape == (1, 7)
    assert not made.training
    with pytest.raises(ValueError, match=r"timm cannot build test_vit with .*depht=3, .*: .*'depht'"):
        models.create(VIT, depht=3)


def test_the_size_of_the_pictures_reaches_networks_built_for_one() -> None:
    vit, convnet = load(VIT, image_size=96), load(CONVNET, image_size=96)
    for loaded in (vit, convnet):
        assert loaded.inputs[0].shape == (3, 96, 96)
        assert loaded.preprocessing is not None
        assert loaded.preprocessing.size == 96
        assert loaded.module(torch.zeros(1, 3, 96, 96)).shape == (1, 1000)
    assert vit.module.pos_embed.shape[1] == (96 // 16) ** 2 + 1
    assert load(VIT, model_args={"image_size": 64}).inputs[0].shape == (3, 64, 64)
    with pytest.raises(ValueError, match="image_size=64 and a size of 96 were both asked for"):
        load(VIT, image_size=96, model_args={"image_size": 64})


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"state_dict_ema": {f"module.{k}": v for k, v in x.items()}}])
def test_a_checkpoint_gives_timms_own_answers(tmp_path: Path, wrap) -> None:
    torch.manual_seed(0)
    trained = timm.create_model("mobilenetv3_small_050", num_classes=5)
    torch.save(wrap(trained.state_dict()), tmp_path / "w.pth")
    loaded = load(CONVNET, checkpoint=tmp_path / "w.pth")
    _same(loaded.module, trained, 64)
    assert (loaded.weights.kind, loaded.weights.layout) == ("checkpoint", "timm")


def test_the_authors_own_names_are_read_by_timms_filter(tmp_path: Path) -> None:
    """ConvNeXt as its authors publish it, which timm's `checkpoint_filter_fn` renames."""
    trained = models.create("timm/test_convnext")
    official = {}
    for key, value in trained.state_dict().items():
        key = key.replace("head.fc.", "head.").replace("head.norm.", "norm.")
        for number in range(4):
            key = key.replace(f"stages.{number}.blocks.", f"stages.{number}.")
            key = key.replace(f"stages.{number}.downsample.", f"downsample_layers.{number}.")
        official[
            key.replace("stem.", "downsample_layers.0.").replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
        ] = value
    assert official.keys() != trained.state_dict().keys()
    torch.save({"model": official}, tmp_path / "w.pth")
    _same(load("timm/test_convnext", checkpoint=tmp_path / "w.pth").module, trained, 64)


def test_position_embeddings_of_another_size_are_resized_by_timms_filter(tmp_path: Path) -> None:
    torch.save(models.create(VIT).state_dict(), tmp_path / "w.pth")
    loaded = load(VIT, checkpoint=tmp_path / "w.pth", image_size=96)
    assert loaded.module(torch.zeros(1, 3, 96, 96)).shape == (1, 1000)


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    torch.save(models.create(VIT).state_dict(), tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"does not fit timm/mobilenetv3_small_050: keys .* missing"):
        load(CONVNET, checkpoint=tmp_path / "w.pth")


def test_published_weights_come_through_our_own_downloader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSEPORT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    trained = models.create(CONVNET, num_classes=3)
    torch.save(trained.state_dict(), tmp_path / "w.pth")
    with serve(Site((tmp_path / "w.pth").read_bytes())) as site:
        which = Download(f"{site.address}/model.pth", "timm")
        loaded = load(replace(models.find(CONVNET), downloads=(which,)), pretrained=True)
    _same(loaded.module, trained, 64)
    assert (loaded.weights.kind, loaded.weights.source) == ("pretrained", which.url)
    assert cached_path(which).is_file()
    with pytest.raises(CheckpointError, match="no weights of timm/test_beit_none are published"):
        load(replace(models.find(CONVNET), name="timm/test_beit_none", downloads=()), pretrained=True)


def test_classes_are_those_of_the_published_weights() -> None:
    assert load("timm/test_vit.r160_in1k").variant.num_classes == 1000
    without_head = "timm/vit_small_patch14_dinov2"
    assert models.find(without_head).num_classes == 0
    assert timm_models.build("test_vit", num_classes=0).get_classifier().__class__ is nn.Identity
