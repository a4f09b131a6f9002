"""SwiftFormer against the authors' numbers in both published forms, and its own options."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from fuseport.models import create, swiftformer
from golden_weights import GOLDEN, assert_close, assert_golden_stages, golden, image, load_golden_, signed

GOLDENS = json.loads((GOLDEN / "cnn_seedA.json").read_text())
RECORDED = GOLDENS["swiftformer"]
OFFICIAL = {official.lower(): official for official in RECORDED}


@pytest.mark.parametrize("name", OFFICIAL)
def test_stages_and_logits_are_the_golden_ones(name: str) -> None:
    module, recorded = golden(name), RECORDED[OFFICIAL[name]]
    logits = assert_golden_stages(module, recorded["stages"], image(recorded["input"], "A"))
    assert_close(logits[0], np.load(GOLDEN / "cnn_seedA.npz")[OFFICIAL[name]])


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_form_of_march_2023_gives_its_golden_logits(name: str) -> None:
    module = golden(name, attention="softmax")
    with torch.no_grad():
        logits = module(image((1, 3, 224, 224), "A"))[0]
    recorded = GOLDENS["swiftformer_v1_2023_03"][OFFICIAL[name]]
    assert_close(logits[::31][:32], np.array(recorded["logits_every_31st"]))
    assert int(logits.argmax()) == recorded["argmax"]


@pytest.mark.parametrize(("form", "recorded"), [("l2", "v2_normalize"), ("softmax", "v1_softmax")])
def test_attention_alone_is_golden(form: str, recorded: str) -> None:
    attention = load_golden_(swiftformer.AdditiveAttention(24, form), prefix="attn_unit.")
    tokens = torch.from_numpy(signed("attn_unit.x", (2, 49, 24), "A").astype(np.float32))
    with torch.no_grad():
        output = attention(tokens.transpose(1, 2).reshape(2, 24, 7, 7)).flatten(2).transpose(1, 2)
    expected = GOLDENS["swiftformer_attention_unit"][recorded]
    assert_close(output[:, 0, :8], np.array(expected["first8"]))
    assert_close(output[:, -1, -8:], np.array(expected["last8"]))
    assert_close(output.square().mean().sqrt(), np.array(expected["rms"]))


def test_the_two_forms_differ() -> None:
    x = image((1, 3, 32, 32), "A")
    new, old = (golden("swiftformer_xs", attention=form)(x).detach() for form in ("l2", "softmax"))
    with pytest.raises(AssertionError):
        assert_close(new, old)


def test_w_g_is_trained_only_where_it_matters() -> None:
    old = create("swiftformer_xs", attention="softmax")
    frozen = [name for name, p in old.named_parameters() if not p.requires_grad]
    assert frozen == [f"network.{stage}.attn.w_g" for stage in ("0.2", "2.2", "4.5", "6.3")]
    assert all(p.requires_grad for p in create("swiftformer_xs").parameters())


def test_unknown_form_is_refused() -> None:
    with pytest.raises(ValueError, match="attention must be one of l2, softmax; got 'flash'"):
        create("swiftformer_xs", attention="flash")


def test_attention_needs_no_transposes() -> None:
    attention = swiftformer.AdditiveAttention(8, "l2").eval()
    program = torch.export.export(attention, (torch.zeros(1, 8, 4, 4),))
    moves = {"permute", "transpose", "expand", "flatten", "t", "contiguous", "clone"}
    assert not [
        n for n in program.graph.nodes if str(n.target).split(".")[1:2] and str(n.target).split(".")[1] in moves
    ]


def test_second_head_averages_in_evaluation_and_can_be_left_out() -> None:
    module = golden("swiftformer_xs")
    x = image((2, 3, 32, 32), "A")
    with torch.no_grad():
        averaged = module(x)
        module.train()
        for norm in (m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)):
            norm.eval()
        logits, distilled = module(x)
        single = golden("swiftformer_xs", distillation=False)
        assert_close(single(x), logits, 1e-6)
    assert_close(averaged, (logits + distilled) / 2, 1e-6)
    assert "dist_head.weight" not in single.state_dict()


def test_features_are_the_four_stages_behind_their_own_norms() -> None:
    module = golden("swiftformer_xs", features=True)
    recorded = RECORDED["SwiftFormer_XS"]
    maps = assert_golden_stages(module, recorded["stages"], image(recorded["input"], "A"))
    stages = {stage["at"]: stage for stage in recorded["stages"]}
    for i, y in zip((0, 2, 4, 6), maps, strict=True):
        norm, stage = module.get_submodule(f"norm{i}"), stages[f"network.{i}"]
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        expected = (torch.tensor(stage["first4"]) - norm.running_mean[:4]) * scale[:4] + norm.bias[:4]
        assert_close(y[0, :4, 0, 0], expected.detach())
    assert not [key for key in module.state_dict() if key.startswith(("head.", "dist_head.", "norm."))]


def test_fused_checkpoints_are_told_from_training_ones() -> None:
    keys = set(create("swiftformer_xs").state_dict())
    assert not swiftformer.is_fused(keys)
    assert swiftformer.is_fused(key for key in keys if "norm" not in key and "running" not in key)
