"""Token reduction from the command line: methods on timm's ViTs, and each kind of bad input in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from fuseport.models.loaded import load
from fuseport.models.swag_vit import SIZES, SwagViT
from golden_weights import assert_close
from test_cli import run

TIMM = "timm/vit_tiny_patch16_224"

BAD = (
    (("vit_b16_in1k", "--image-size", "390"), "must be a multiple of its patch of 16 pixels, such as 384; got 390"),
    (
        ("tome_vit_b16_in1k", "--model-arg", "r=577"),
        "r must be a whole number from 0 to 576 (the network has 577 tokens)",
    ),
    (("e_vit_b16_in1k", "--model-arg", "keep_rate=0"), "keep_rate must be above 0 and at most 1; got 0"),
    (("e_vit_b16_in1k", "--model-arg", "keep_rate=1.5"), "keep_rate must be above 0 and at most 1; got 1.5"),
    (("evo_vit_b16_in1k", "--model-arg", "keep_ratio=0"), "keep_ratio must be above 0 and at most 1; got 0"),
    (("hourglass_vit_b16_in1k", "--model-arg", "clusters=10"), "clusters must be a square"),
    (("hourglass_vit_b16_in1k", "--model-arg", "clusters=625"), "clusters must be a square"),
    (("hourglass_vit_b16_in1k", "--model-arg", "location=12"), "location must be a whole number from 0 to 11"),
    (("evo_vit_b16_in1k", "--model-arg", "location=12"), "location must be a whole number from "),
    (("smyrf_vit_b16_in1k", "--model-arg", "first_layer=12"), "first_layer must be a whole number from 0 to 11"),
    (("ats_vit_b16_in1k", "--model-arg", "token_bound=1"), "token_bound must be a whole number from 2 to"),
    (("tome_vit_b16_in1k", "--model-arg", "preset=r99"), "unknown preset 'r99'; this variant has r10"),
    ((TIMM, "--model-arg", "method=tome", "--model-arg", "r=197"), "r must be a whole number from 0 to 196"),
    ((TIMM, "--model-arg", "method=tome"), f"{TIMM} with method=tome: tome needs the option 'r'"),
    ((TIMM, "--model-arg", "method=merge"), "unknown token reduction 'merge'; known: none, hourglass"),
    ((TIMM, "--model-arg", "method=tome", "--model-arg", "keep_rate=1"), "tome has no option 'keep_rate'; it takes r"),
    (("timm/resnet18", "--model-arg", "method=tome", "--model-arg", "r=2"), "expected a VisionTransformer of timm"),
)


@pytest.mark.parametrize("command", ["export-model", "cost"])
@pytest.mark.parametrize(("words", "told"), BAD, ids=[" ".join(words[:1] + words[2:]) for words, _ in BAD])
def test_bad_input_gets_one_line(
    command: str, words: tuple[str, ...], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *rest = words
    if command == "cost":
        assert run("fuseport", "cost", name, *rest) == 2
    else:
        assert run("export-model", "--variant", name, *rest, "--format", "onnx", "--output-dir", str(tmp_path)) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert told in line
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_another_size_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with torch.device("meta"):
        large = SwagViT(SIZES["l16"]).state_dict()
    small_parts = {key: torch.zeros(value.shape) for key, value in large.items() if value.numel() < 1e6}
    torch.save(small_parts, tmp_path / "large.pth")
    words = ("--variant", "tome_vit_b16_in1k", "--checkpoint", str(tmp_path / "large.pth"), "--format", "onnx")
    assert run("export-model", *words) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert "large.pth" in line
    assert "the checkpoint is ViT-L/16 (vit_l16_in1k) of patch 16, width 1024 and 24 layers" in line


def test_a_method_on_timms_vit_costs_less(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fuseport", "cost", f"{TIMM}:method=tome,r=16", "--json") == 0
    (merged,) = json.loads(capsys.readouterr().out)["reports"]
    assert merged["total"]["parameters"] == 5_717_416
    assert merged["total"]["macs"] < 0.6 * 1_258_273_728, "of the plain ViT"


def test_timms_own_checkpoint_serves_every_method(tmp_path: Path) -> None:
    plain = load(TIMM).module
    torch.save(plain.state_dict(), tmp_path / "tiny.pth")
    options = {"method": "evit", "keep_rate": 1.0, "drop_layers": "3,6"}
    found = load(TIMM, checkpoint=tmp_path / "tiny.pth", model_args=options)
    x = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        assert_close(found.module(x), plain(x), 1e-5)
