"""Folded state dicts put back: the restored model computes what the folded one did."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import timm
import torch
from fuseport import models
from fuseport.models.checkpoint import Checkpoint
from fuseport.models.fit import fit
from fuseport.models.unfuse import unfuse
from golden_weights import GOLDEN, assert_close, image, load_golden_
from timm.utils.model import reparameterize_model
from torch import Tensor, nn

NAME = "shvit_s1"


def _fused(module: nn.Module) -> dict[str, Tensor]:
    """The module's state dict with every pair folded as the authors do, computed in float64, saved in float32."""
    state = {name: value.double() for name, value in module.state_dict().items()}
    for place in [name.removesuffix(".bn") for name, _ in module.named_modules() if name.endswith(".bn")]:
        weight, bias, mean, var, _ = (state.pop(f"{place}.bn.{leaf}") for leaf in LEAVES)
        scale = weight / (var + 1e-5).sqrt()
        if f"{place}.c.weight" in state:
            w = state.pop(f"{place}.c.weight") * scale.reshape(-1, 1, 1, 1)
            b = bias - mean * scale
        else:
            w, b = state.pop(f"{place}.l.weight"), state.pop(f"{place}.l.bias")
            b, w = b + w @ (bias - mean * scale), w * scale
        if place.endswith(".m"):
            place, w = (
                place.removesuffix(".m"),
                w + torch.eye(3, dtype=w.dtype)[1] * torch.eye(3, dtype=w.dtype)[1][:, None],
            )
        state[f"{place}.weight"], state[f"{place}.bias"] = w, b
    return {name: value.float() for name, value in state.items()}


LEAVES = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


@pytest.fixture(scope="module")
def module() -> nn.Module:
    return load_golden_(models.create(NAME))


def _restored(tensors: dict[str, Tensor], like: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    fitted = fit(Checkpoint(tensors, Path("fused.pth"), "", "torch zip"), models.find(NAME))
    restored = copy.deepcopy(like)
    restored.load_state_dict({**restored.state_dict(), **fitted.tensors})
    return restored, fitted.notes


def test_a_fused_checkpoint_gives_the_golden_logits_of_the_fused_model(module: nn.Module) -> None:
    restored, notes = _restored(_fused(module), module)
    assert notes == ("already fused: 74 batch norms put back as identities",)
    expected = json.loads((GOLDEN / "cnn_seedA.json").read_text())["shvit"][NAME]["fused_logits_every_31st"]
    with torch.no_grad():
        logits = restored(image((1, 3, 224, 224), "A"))[0, ::31][:32]
    assert_close(logits, torch.tensor(expected), 1e-5)


def test_a_model_fused_by_timm(module: nn.Module) -> None:
    theirs = timm.create_model(NAME, num_classes=10).eval()
    for norm in theirs.modules():
        if isinstance(norm, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.uniform_(norm.weight, 0.5, 1)
            nn.init.uniform_(norm.running_var, 0.5, 1.5)
            nn.init.normal_(norm.running_mean, 0, 0.2)
    fused = reparameterize_model(theirs)
    assert "patch_embed.0.weight" in fused.state_dict(), "timm folded"
    restored, notes = _restored(fused.state_dict(), models.create(NAME, num_classes=10))
    assert "already fused" in notes[0]
    x = image((1, 3, 224, 224), "A")
    with torch.no_grad():
        assert_close(restored(x), fused(x), 1e-5)


def test_folding_again_gives_the_file_back(module: nn.Module) -> None:
    file = _fused(module)
    restored, _ = _restored(file, module)
    for name, value in _fused(restored).items():
        assert_close(value, file[name], 2e-7)


def test_what_belongs_to_no_pair_is_passed_through(module: nn.Module) -> None:
    tensors = {
        "patch_embed.0.weight": torch.ones(16, 3, 3, 3),
        "patch_embed.0.bias": torch.ones(16),
        "x": torch.ones(1),
    }
    out, restored = unfuse(tensors, module)
    assert restored == 1
    assert set(out) == {
        "x",
        "patch_embed.0.c.weight",
        *(f"patch_embed.0.bn.{leaf}" for leaf in LEAVES if leaf != "num_batches_tracked"),
    }
    assert unfuse({"x": torch.ones(1)}, module)[1] == 0
