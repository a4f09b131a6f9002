"""Loading a variant: from files, from the web, or with conditioned weights, and the line that says which."""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from fuseport import models
from fuseport.models.loaded import Loaded, Weights, load
from fuseport.models.pretrained import cached_path
from fuseport.models.variant import Download
from fuseport.models.weights_file import CheckpointError
from golden_weights import assert_close, image, load_golden_
from loopback import Site, serve
from safetensors.torch import save_file
from torch import Tensor, nn

SHVIT, SWIFT = "shvit_s1", "swiftformer_xs"


def _weights(name: str, **options: Any) -> dict[str, Tensor]:
    return load_golden_(models.create(name, num_classes=10, **options)).state_dict()


def _save(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def _assert_same(loaded: Loaded, expected: dict[str, Tensor]) -> None:
    state = loaded.module.state_dict()
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(state[name], value), name


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", [SHVIT, SWIFT])
def test_a_training_checkpoint(tmp_path: Path, name: str) -> None:
    weights = _weights(name)
    content = {"model": weights, "model_ema": weights, "args": argparse.Namespace(lr=1e-3), "epoch": 299}
    path = _save(tmp_path / "best.pth", content)
    loaded = load(name, checkpoint=path)
    _assert_same(loaded, weights)
    assert not loaded.module.training
    assert all(p.dtype == torch.float32 and p.device.type == "cpu" for p in loaded.module.parameters())
    assert loaded.variant == models.find(name)
    sha256 = _sha256(path)
    assert loaded.weights == Weights(
        "checkpoint", "best.pth", sha256, "model", "official", notes=("not taken: model_ema",)
    )
    assert loaded.weights.describe() == (
        f"checkpoint best.pth, key model, official layout, sha256 {sha256[:12]}…, not taken: model_ema"
    )


def test_trainable_tensors_are_those_of_a_fresh_model(tmp_path: Path) -> None:
    path = _save(tmp_path / "w.pth", _weights(SWIFT))
    for attention in ("l2", "softmax"):
        options = {"attention": attention}
        fresh = models.create(SWIFT, num_classes=10, attention=attention)
        module = load(SWIFT, checkpoint=path, model_args=options).module
        expected = {name: p.requires_grad for name, p in fresh.named_parameters()}
        assert {name: p.requires_grad for name, p in module.named_parameters()} == expected


def test_the_file_may_go_once_it_is_loaded(tmp_path: Path) -> None:
    """The tensors of the file are mapped while reading; the module owns its own memory."""
    path = _save(tmp_path / "w.pth", _weights(SHVIT))
    loaded = load(SHVIT, checkpoint=path)
    path.write_bytes(b"")
    _assert_same(loaded, _weights(SHVIT))


def test_timm_weights_give_timms_logits(tmp_path: Path) -> None:
    for name in (SHVIT, SWIFT):
        theirs = load_golden_(timm.create_model(name, num_classes=10).eval())
        save_file(theirs.state_dict(), tmp_path / "model.safetensors")
        loaded = load(name, checkpoint=tmp_path / "model.safetensors")
        assert loaded.weights.describe().startswith(
            "checkpoint model.safetensors, bare state dict, timm layout, sha256 "
        )
        x = image((1, 3, 224, 224), "A")
        with torch.no_grad():
            assert_close(loaded.module(x), theirs(x), 1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_number_formats_become_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    weights = {name: t.to(dtype) if t.is_floating_point() else t for name, t in _weights(SHVIT).items()}
    loaded = load(SHVIT, checkpoint=_save(tmp_path / "w.pth", weights))
    _assert_same(loaded, {name: t.float() if t.is_floating_point() else t for name, t in weights.items()})
    assert loaded.weights.describe().endswith(f"converted to float32 from {str(dtype).removeprefix('torch.')}")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_weights_that_are_no_finite_numbers_are_refused(tmp_path: Path, value: float) -> None:
    weights = _weights(SHVIT)
    weights["head.l.weight"] = weights["head.l.weight"].double()
    weights["head.l.weight"][3, 5] = value
    path = _save(tmp_path / "w.pth", weights)
    with pytest.raises(CheckpointError, match=r"1 of the 3200 numbers of head\.l\.weight are NaN or infinite"):
        load(SHVIT, checkpoint=path)


def test_whole_numbers_as_weights_are_refused(tmp_path: Path) -> None:
    weights = _weights(SHVIT)
    weights["head.l.weight"] = weights["head.l.weight"].mul(100).to(torch.int8)
    with pytest.raises(CheckpointError, match=r"head\.l\.weight holds torch\.int8 numbers"):
        load(SHVIT, checkpoint=_save(tmp_path / "w.pth", weights))


def test_missing_counters_are_zero(tmp_path: Path) -> None:
    weights = {name: t for name, t in _weights(SHVIT).items() if not name.endswith("num_batches_tracked")}
    state = load(SHVIT, checkpoint=_save(tmp_path / "w.pth", weights)).module.state_dict()
    assert all(t == 0 for name, t in state.items() if name.endswith("num_batches_tracked"))


def test_what_was_cut_and_left_out_is_said(tmp_path: Path) -> None:
    content = {f"module.{name}": t for name, t in _weights(SHVIT).items()} | {"n_averaged": torch.tensor(3)}
    described = load(SHVIT, checkpoint=_save(tmp_path / "w.pth", content)).weights.describe()
    assert described.endswith("prefix module. cut, entries left out: 1")


def test_key_and_classes_are_passed_on(tmp_path: Path) -> None:
    averaged = {name: t + 1 for name, t in _weights(SHVIT).items()}
    path = _save(tmp_path / "w.pth", {"model": _weights(SHVIT), "model_ema": averaged})
    loaded = load(SHVIT, checkpoint=path, checkpoint_key="model_ema")
    _assert_same(loaded, averaged)
    assert loaded.weights.key == "model_ema"
    with pytest.raises(CheckpointError, match="has 10 classes, but 1000"):
        load(SHVIT, checkpoint=path, num_classes=1000)
    with pytest.raises(CheckpointError, match="it fits shvit_s1"):
        load(SWIFT, checkpoint=path)


def test_modules_with_tensors_outside_the_state_dict_are_built_whole(tmp_path: Path) -> None:
    class Scaled(nn.Linear):
        def __init__(self, num_classes: int, in_chans: int) -> None:
            super().__init__(in_chans, num_classes)
            self.register_buffer("scale", torch.full((1,), 3.0), persistent=False)

    class Shifted(nn.Linear):
        def __init__(self, num_classes: int, in_chans: int) -> None:
            super().__init__(in_chans, num_classes)
            self.scale = torch.full((1,), 3.0)

    for build in (Scaled, Shifted):
        variant = replace(models.find(SHVIT), name="mine", family="mine", build=build, model_args={})
        path = _save(tmp_path / "w.pth", nn.Linear(3, 4).state_dict())
        assert load(variant, checkpoint=path).module.scale == 3


def test_without_a_checkpoint_weights_are_conditioned() -> None:
    loaded = load(SHVIT, num_classes=10, seed=3)
    assert loaded.weights == Weights("conditioned", "random", seed=3)
    assert loaded.weights.describe() == "random, conditioned, seed 3"
    assert not loaded.module.training
    _assert_same(load(SHVIT, num_classes=10, seed=3), loaded.module.state_dict())
    other = load(SHVIT, num_classes=10, seed=4).module.state_dict()
    assert not torch.equal(other["head.l.weight"], loaded.module.state_dict()["head.l.weight"])
    assert load(SWIFT).module.head.out_features == 1000


def test_pretrained_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSEPORT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    content = _save(tmp_path / "w.pth", {"model": _weights(SHVIT)}).read_bytes()
    seen: list[int] = []
    with serve(Site(content)) as site:
        which = Download(f"{site.address}/v1.0/shvit_s1.pth", "official")
        variant = replace(models.find(SHVIT), downloads=(which,))
        loaded = load(variant, pretrained=True, progress=lambda done, total: seen.append(done))
        assert load(variant, pretrained="official").weights == loaded.weights
    _assert_same(loaded, _weights(SHVIT))
    assert seen[-1] == len(content)
    assert len(site.requests) == 1
    sha256 = _sha256(cached_path(which))
    assert loaded.weights == Weights("pretrained", which.url, sha256, "model", "official")
    assert loaded.weights.describe() == f"published {which.url}, key model, official layout, sha256 {sha256[:12]}…"
    with pytest.raises(CheckpointError, match="no 'timm' weights"):
        load(variant, pretrained="timm")


def test_contradicting_requests(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="choose one"):
        load(SHVIT, checkpoint=tmp_path / "w.pth", pretrained=True)
    with pytest.raises(CheckpointError, match="no checkpoint to find it in"):
        load(SHVIT, checkpoint_key="model")
    with pytest.raises(CheckpointError, match="no such file"):
        load(SHVIT, checkpoint=tmp_path / "w.pth")
    with pytest.raises(models.UnknownVariantError, match="shvit_s9"):
        load("shvit_s9")
    with pytest.raises(ValueError, match="has no option 'depth'"):
        load(SHVIT, model_args={"depth": 3})
