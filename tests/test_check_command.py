"""`fuseport check` as a shell sees it: exit codes, one line for each error, JSON and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from exported import doubling, edited
from test_cli import run

pytestmark = pytest.mark.usefixtures("tiny")


def test_a_pass_is_0_and_a_failure_1(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fuseport", "check", str(exported / "shvit_tiny.onnx"), "--samples", "2") == 0
    assert "passed: 1 of 1 files compute what the model computes" in capsys.readouterr().out
    edited(exported, tmp_path, lambda weight: 1.5 * weight)
    assert run("fuseport", "check", str(tmp_path / "shvit_tiny.onnx"), "--samples", "2", "--json") == 1
    printed = capsys.readouterr()
    written = json.loads(printed.out)
    assert (written["outcome"], written["results"][0]["findings"][-1]["stage"]) == ("failed", "layer")
    assert printed.err.startswith("error: shvit_tiny.onnx (ONNX Runtime, CPU): logits: ")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--images", "a", "--inputs", "b.npz"), "--images and --inputs both name inputs"),
        (("--samples", "0"), "--samples must be at least 1, got 0"),
        (("--input-map", "x"), "--input-map takes FILE_NAME=MODEL_NAME, got 'x'"),
        (("--output-map", "x=y", "--output-map", "x=z"), "--output-map names a tensor twice"),
        (("--against", "shvit_s9"), "unknown variant 'shvit_s9'"),
        ((), "nothing to check it against"),
    ],
)
def test_wrong_usage_is_2_and_one_line(
    words: tuple[str, ...], told: str, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = shutil.copy(exported / "shvit_tiny.onnx", tmp_path)
    assert run("fuseport", "check", str(alone), *words) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if not line.endswith("…")]
    assert line.startswith("error: ")
    assert told in line


def test_a_model_that_draws_random_numbers_cannot_be_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(
        "import torch\n\n\nclass Net(torch.nn.Module):\n"
        "    def forward(self, x):\n        return x + torch.rand_like(x)\n"
    )
    file = doubling(tmp_path / "net.onnx")
    words = ("--against", "net.py:Net", "--input-shape", "1,3")
    assert run("fuseport", "check", str(file), *words) == 1
    assert "at net.py:6: `return x + torch.rand_like(x)`: random numbers" in capsys.readouterr().err
