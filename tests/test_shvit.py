"""SHViT against the authors' numbers, its parts against their textbook forms, and its own options."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from fuseport.models import create, shvit
from golden_weights import GOLDEN, assert_close, assert_golden_stages, golden, image, load_golden_
from torch import nn
from torch.nn import functional as F

RECORDED = json.loads((GOLDEN / "cnn_seedA.json").read_text())["shvit"]


@pytest.mark.parametrize("name", RECORDED)
def test_stages_and_logits_are_the_golden_ones(name: str) -> None:
    module, recorded = golden(name), RECORDED[name]
    logits = assert_golden_stages(module, recorded["stages"], image(recorded["input"], "A"))
    assert_close(logits[0], np.load(GOLDEN / "cnn_seedA.npz")[name])


def test_a_changed_norm_is_not_golden() -> None:
    module, recorded = golden("shvit_s1"), RECORDED["shvit_s1"]
    module.get_submodule("blocks3.7.mixer.m.pre_norm").eps = 1.0
    with pytest.raises(AssertionError):
        assert_golden_stages(module, recorded["stages"], image(recorded["input"], "A"))


def test_one_group_norm_is_group_norm() -> None:
    ours, torchs = load_golden_(shvit.OneGroupNorm(6)), load_golden_(nn.GroupNorm(1, 6))
    x = torch.randn(2, 6, 5, 3, generator=torch.Generator().manual_seed(0))
    assert_close(ours(x).detach(), torchs(x).detach(), 1e-6)


def test_attention_is_scaled_dot_product_attention() -> None:
    module = load_golden_(shvit.SingleHeadAttention(24, 8)).eval()
    x = torch.randn(2, 24, 5, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        q, k, v = module.qkv(module.pre_norm(x[:, :8])).flatten(2).transpose(1, 2).split((16, 16, 8), dim=-1)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(2, 8, 5, 3)
        assert_close(module(x), module.proj(torch.cat((mixed, x[:, 8:]), dim=1)), 1e-6)


def test_residual_branches_of_fresh_blocks_are_silent() -> None:
    block = shvit.Block(32, 8).eval()
    x = torch.randn(1, 32, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(block(x), x)


def test_second_head_averages_in_evaluation_and_shows_in_training() -> None:
    module = golden("shvit_s1", distillation=True, num_classes=7)
    x = image((2, 3, 64, 64), "A")
    averaged = module(x)
    module.train()
    module.requires_grad_(False)
    for norm in (m for m in module.modules() if isinstance(m, nn.BatchNorm2d | nn.BatchNorm1d)):
        norm.eval()
    logits, distilled = module(x)
    assert logits.shape == distilled.shape == (2, 7)
    assert not torch.allclose(logits, distilled)
    assert_close(averaged.detach(), (logits + distilled) / 2, 1e-6)


def test_features_are_the_three_stages() -> None:
    module = golden("shvit_s1", features=True)
    recorded = RECORDED["shvit_s1"]
    maps = assert_golden_stages(module, recorded["stages"], image(recorded["input"], "A"))
    assert [list(m.shape) for m in maps] == [stage["shape"] for stage in recorded["stages"][1:]]
    assert not [key for key in module.state_dict() if key.startswith("head")]


def test_fused_checkpoints_are_told_from_training_ones() -> None:
    keys = create("shvit_s1").state_dict().keys()
    fused = ["patch_embed.0.weight", "patch_embed.0.bias", "blocks1.0.conv.weight", "head.weight", "head.bias"]
    assert shvit.is_fused(fused)
    assert not shvit.is_fused(keys)
