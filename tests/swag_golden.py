"""The tiny golden ViTs: each case as a model of ours, its pictures, and the assertion that holds it to the numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import torch
from fuseport.models.swag_vit import SwagViT, ViTSize, vit_shape
from fuseport.models.tokens import create
from fuseport.models.tokens.act import ACT
from fuseport.models.tokens.ats import Live
from fuseport.models.tokens.smyrf import SMYRF
from golden_weights import GOLDEN, assert_close, image, load_golden_, signed, uniform
from torch import Tensor

_FILE = json.loads((GOLDEN / "swag_seedA.json").read_text())
CASES: dict[str, dict[str, Any]] = _FILE["cases"]
ACT_UNIT: dict[str, dict[str, Any]] = _FILE["act_unit"]
TINY = ViTSize("ViT-tiny/8", 8, 64, 48, 4, 5, 96)
CLASSES = 16

NOT_MATCHED = {
    "ats_multi_nodrop": "removed tokens stay as zero rows that later layers attend to: a padding slip of the seed",
    "ats_multi_drop_b2": "the shorter picture of a batch gets zero rows that later layers attend to: the same slip",
}
"""The optional cases. A picture's result here never depends on the others, so they cannot be matched."""

_NAMES = {  # the seed's argument → ours
    "hourglass": {
        "clustering_location": "location",
        "num_cluster": "clusters",
        "cluster_iters": "iterations",
        "cluster_temperture": "temperature",
        "cluster_window_size": "window",
    },
    "evit": {"base_keep_rate": "keep_rate", "drop_loc": "drop_layers", "fuse_token": "fuse"},
    "tome": {"tome_r": "r"},
    "act": {
        "act_q_hashes": "q_hashes",
        "act_k_hashes": "k_hashes",
        "act_group_k": "group_k",
        "act_plug_in_index": "first_layer",
        "act_plug_out_index": "last_layer",
    },
    "ats": {"ats_blocks": "layers"},
    "evo": {"prune_location": "location", "prune_ratio": "keep_ratio"},
    "smyrf": {
        "smyrf_n_hashes": "rounds",
        "smyrf_q_cluster_size": "cluster",
        "smyrf_plug_in_index": "first_layer",
        "smyrf_plug_out_index": "last_layer",
    },
}


def cases(method: str) -> list[str]:
    """The golden cases of a method that have to match."""
    return [name for name, case in CASES.items() if case["method"] == method and name not in NOT_MATCHED]


def options(method: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The seed's arguments under our names; clustering behind a layer's output is clustering in front of the next."""
    given = {ours: arguments[seed] for seed, ours in _NAMES.get(method, {}).items() if seed in arguments}
    if arguments.get("cluster_after_output"):
        given["location"] += 1
    return given


def tiny(
    method: str = "none", image_size: int = 64, *, depth: int = TINY.depth, choices: bool = False, **given: Any
) -> SwagViT:
    """The tiny network with formula weights and a method."""
    size = replace(TINY, depth=depth)
    reduction = create(method, vit_shape(size, image_size), **given)
    model = SwagViT(size, reduction, image_size=image_size, num_classes=CLASSES, choices=choices).eval()
    load_golden_(model)
    return model


def golden_model(name: str, *, choices: bool = False) -> SwagViT:
    """The model of a case, random draws included."""
    case = CASES[name]
    method = "none" if case["method"] == "vit" else case["method"]
    model = tiny(method, case["image_size"], choices=choices, **options(method, case["args"]))
    _set_draws_(model)
    scale = case["args"].get("embed_scale", 1)
    with torch.no_grad():
        for weight in (model.class_token, model.encoder.pos_embedding, *model.conv_proj.parameters()):
            weight.mul_(scale)
    return model


def pictures(name: str) -> Tensor:
    case = CASES[name]
    return image((case["batch"], 3, case["image_size"], case["image_size"]), "A")


def assert_golden(name: str) -> None:
    """Hold logits, token counts, and the statistics behind every layer of a case against the recorded ones."""
    model, case = golden_model(name), CASES[name]
    recorded = case["layers"]
    with torch.inference_mode():
        x = model.embed(pictures(name))
        state = model.reduction.start(x)
        for index, layer in enumerate(model.layers):
            x, state = model.reduction.step(index, layer, x, state)
            _assert_layer(x, state, recorded[index], f"{name}, layer {index}")
        assert_close(model.read_out(x), torch.tensor(case["logits"]))
        assert_close(model(pictures(name)), torch.tensor(case["logits"]))


def _assert_layer(x: Tensor, state: object, recorded: dict[str, Any], where: str) -> None:
    for number, tokens in enumerate(x):
        if isinstance(state, Live) and state.mask is not None:
            tokens = tokens[state.mask[number] > 0]
        assert len(tokens) == recorded["tokens"], where
        summary = torch.tensor([tokens.square().mean().sqrt(), tokens.mean(), *x[number, 0, :4]])
        assert_close(
            summary, torch.tensor([recorded["rms"][number], recorded["mean"][number], *recorded["cls4"][number]])
        )


def _set_draws_(model: SwagViT) -> None:
    """Replace the drawn projections by the formula's."""
    method = model.reduction
    if isinstance(method, ACT):
        for kind, buckets in (("q", method.group_q), ("k", method.group_k)):
            for index, one in (buckets or {}).items():
                key = f"encoder.layers.layer_{index}.self_attention.attention.{kind}_hash_"
                one.weight.copy_(torch.from_numpy(signed(key + "weight", one.weight.shape, "A")))
                one.bias.copy_(torch.from_numpy(uniform(key + "bias", one.bias.shape, "A")))
    if isinstance(method, SMYRF):
        for index, one in method.order.items():
            key = f"encoder.layers.layer_{index}.self_attention.attention.hash_alpha"
            one.alpha.copy_(torch.from_numpy(signed(key, one.alpha.shape, "A")))
