"""Methods on timm's vision transformers, and the models that are refused."""

from __future__ import annotations

import pytest
import timm
import torch
from fuseport.models.swag_vit import SwagViT, ViTSize, vit_shape
from fuseport.models.tokens import create
from fuseport.models.tokens.attach import attach
from golden_weights import assert_close
from test_tokens_layer import SETTINGS, every_method
from timm.models.vision_transformer import VisionTransformer

OPTIONS = {"img_size": 64, "patch_size": 8, "embed_dim": 48, "depth": 5, "num_heads": 4, "mlp_ratio": 2}


def small(**options: object) -> VisionTransformer:
    """A small timm ViT with weights that let every branch speak."""
    torch.manual_seed(0)
    vit = VisionTransformer(**{**OPTIONS, "num_classes": 16, **options}).eval()  # pyright: ignore[reportArgumentType]
    for parameter in vit.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return vit


@every_method
def test_timms_vit_and_ours_with_the_same_weights_agree(method: str) -> None:
    theirs = small()
    size = ViTSize("tiny", 8, 64, 48, 4, 5, 96)
    ours = SwagViT(size, create(method, vit_shape(size), **SETTINGS[method]), num_classes=16).eval()
    renamed = {}
    for key, value in theirs.state_dict().items():
        for old, new in (
            ("cls_token", "class_token"),
            ("pos_embed", "encoder.pos_embedding"),
            ("patch_embed.proj", "conv_proj"),
            ("blocks.", "encoder.layers.layer_"),
            ("norm1", "ln_1"),
            ("norm2", "ln_2"),
            ("attn.qkv.", "self_attention.in_proj_"),
            ("attn.proj", "self_attention.out_proj"),
            ("fc1", "linear_1"),
            ("fc2", "linear_2"),
            ("head.", "head.layers.head."),
        ):
            key = key.replace(old, new)
        key = "encoder.ln." + key.removeprefix("norm.") if key.startswith("norm.") else key
        renamed[key] = value.transpose(0, 1) if key == "encoder.pos_embedding" else value
    ours.load_state_dict(renamed)
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert_close(attach(theirs, method, **SETTINGS[method])(x), ours(x), 1e-5)


@pytest.mark.parametrize(
    "options",
    [{"init_values": 0.5}, {"qk_norm": True}, {"pre_norm": True}, {"no_embed_class": True}, {"num_classes": 0}],
    ids=lambda options: next(iter(options)),
)
def test_layer_scale_and_further_norms_are_kept(options: dict) -> None:
    vit, x = small(**options), torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert_close(attach(vit, "none")(x), vit(x), 1e-6)
        assert attach(vit, "tome", r=4)(x).shape == vit(x).shape


def test_the_model_is_shared_and_stays_as_it_was() -> None:
    vit, x = small(), torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        before = vit(x)
        reduced = attach(vit, "evit", keep_rate=0.5, drop_layers=(1,), choices=True)
        assert reduced.vit is vit
        logits, kept = reduced(x)
        assert not torch.equal(logits, before)
        assert kept.sum() == 33
        assert torch.equal(vit(x), before)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("deit_tiny_distilled_patch16_224", "expected a VisionTransformer of timm, .*; got VisionTransformerDistilled"),
        ("swin_tiny_patch4_window7_224", "expected a VisionTransformer of timm, .*; got SwinTransformer"),
        ("vit_tiny_patch16_224.avg", r".*: its classifier pools over tokens \(avg\); expected one that reads .*"),
        ("vit_tiny_patch16_224.reg", ".*: it has 5 tokens in front of the patches; expected the class token alone"),
        ("vit_tiny_patch16_224.dynamic", r".*: its grid follows the picture \(dynamic_img_size\); build it .*"),
        ("vit_tiny_patch16_224.parallel", ".*: layer 0 is a ParallelThingsBlock with .*; expected a plain pre-norm .*"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_in_one_line(name: str, line: str) -> None:
    name, _, kind = name.partition(".")
    options = {
        "avg": {"global_pool": "avg"},
        "reg": {"reg_tokens": 4},
        "dynamic": {"dynamic_img_size": True},
        "parallel": {"block_fn": timm.models.vision_transformer.ParallelThingsBlock},
    }.get(kind, {})
    with torch.device("meta"):
        vit = timm.create_model(name, **options)
    with pytest.raises(ValueError, match=f"^{line}$"):
        attach(vit, "tome", r=4)


def test_what_is_no_timm_model_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^expected a VisionTransformer of timm, .*; got Linear$"):
        attach(torch.nn.Linear(2, 2), "tome", r=4)
