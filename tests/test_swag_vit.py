"""The plain ViT against its golden vectors, its published sizes, and pictures that do not fit."""

from __future__ import annotations

import json

import pytest
import torch
from fuseport.models.swag_vit import SIZES, SwagViT, vit_shape
from golden_weights import GOLDEN, assert_close, image, weight
from swag_golden import CASES, NOT_MATCHED, TINY, assert_golden, cases, golden_model, pictures, tiny

FULL = json.loads((GOLDEN / "vit_full_seedA.json").read_text())["models"]


def meta(size: str, **options: int) -> SwagViT:
    with torch.device("meta"):
        return SwagViT(SIZES[size], **options).eval()


@pytest.mark.parametrize("name", [name for name in cases("vit") if name != "vit_pos_interp"])
def test_golden(name: str) -> None:
    assert_golden(name)


def test_a_norm_with_torchs_own_eps_is_noticed() -> None:
    model = golden_model("vit_small_embed")
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = 1e-5
    with pytest.raises(AssertionError), torch.inference_mode():
        assert_close(model(pictures("vit_small_embed")), torch.tensor(CASES["vit_small_embed"]["logits"]))


def test_all_but_the_two_padding_cases_are_tested_somewhere() -> None:
    methods = {case["method"] for case in CASES.values()}
    assert sum(len(cases(method)) for method in methods) + len(NOT_MATCHED) == len(CASES) == 26


# ---- the published sizes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "facts"), list(zip(SIZES, FULL.values(), strict=True)), ids=list(SIZES))
def test_counts_are_the_published_ones(size: str, facts: dict) -> None:
    model = meta(size)
    assert sum(parameter.numel() for parameter in model.parameters()) == facts["parameters"]
    assert len(model.state_dict()) == facts["state_dict_keys"]
    assert model.image_size == facts["image_size"]


def test_keys_and_shapes_are_the_official_ones() -> None:
    state = {key: tuple(value.shape) for key, value in meta("b16").state_dict().items()}
    layer = "encoder.layers.layer_{}."
    expected = {
        "class_token": (1, 1, 768),
        "conv_proj.weight": (768, 3, 16, 16),
        "conv_proj.bias": (768,),
        "encoder.pos_embedding": (577, 1, 768),
        "encoder.ln.weight": (768,),
        "encoder.ln.bias": (768,),
        "head.layers.head.weight": (1000, 768),
        "head.layers.head.bias": (1000,),
    }
    for i in range(12):
        expected |= {
            f"{layer.format(i)}{key}": shape
            for key, shape in {
                "ln_1.weight": (768,),
                "ln_1.bias": (768,),
                "self_attention.in_proj_weight": (2304, 768),
                "self_attention.in_proj_bias": (2304,),
                "self_attention.out_proj.weight": (768, 768),
                "self_attention.out_proj.bias": (768,),
                "ln_2.weight": (768,),
                "ln_2.bias": (768,),
                "mlp.linear_1.weight": (3072, 768),
                "mlp.linear_1.bias": (3072,),
                "mlp.linear_2.weight": (768, 3072),
                "mlp.linear_2.bias": (768,),
            }.items()
        }
    assert state == expected


@pytest.mark.parametrize(
    "size", ["b16", pytest.param("l16", marks=pytest.mark.slow), pytest.param("h14", marks=pytest.mark.slow)]
)
def test_full_size_golden(size: str) -> None:
    facts = FULL[f"ViT{size[0].upper()}{size[1:]}"]
    model = meta(size).to_empty(device="cpu")
    with torch.inference_mode():
        for key, value in model.state_dict().items():
            value.copy_(torch.from_numpy(weight(key, value.shape, "A")))
        x, rms = model.embed(image((1, 3, facts["image_size"], facts["image_size"]), "A")), []
        for index, layer in enumerate(model.layers):
            x, _ = model.reduction.step(index, layer, x, None)
            rms.append(x.square().mean().sqrt())
        logits = model.read_out(x)[0]
    assert_close(torch.stack(rms), torch.tensor(facts["layer_rms"]))
    assert_close(logits[::31][:32], torch.tensor(facts["logits_every_31st"]))
    assert int(logits.argmax()) == facts["argmax"]


# ---- options and bad input ------------------------------------------------------------------------------------------


def test_other_classes_and_channels() -> None:
    model = SwagViT(TINY, num_classes=7, in_chans=1).eval()
    assert model(torch.zeros(2, 1, 64, 64)).shape == (2, 7)
    assert SwagViT(TINY, num_classes=0).eval()(torch.zeros(2, 3, 64, 64)).shape == (2, TINY.width)


def test_a_picture_of_another_shape_gets_one_clear_line() -> None:
    model = tiny()
    for shape in [(1, 3, 72, 72), (1, 3, 64, 60), (1, 1, 64, 64), (3, 64, 64)]:
        with pytest.raises(ValueError, match=r"^expected pictures of shape \(batch, 3, 64, 64\), .*; got \(.*\): .*$"):
            model(torch.zeros(shape))


@pytest.mark.parametrize(("side", "near"), [(500, 496), (8, 16), (0, 16), (-32, 16), ("512", 384)])
def test_an_image_size_off_the_patch_names_a_good_one(side: object, near: int) -> None:
    with pytest.raises(ValueError, match=rf"multiple of its patch of 16 pixels, such as {near}; got {side!r}$"):
        vit_shape(SIZES["b16"], side)  # pyright: ignore[reportArgumentType]
