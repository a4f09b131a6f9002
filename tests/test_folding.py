"""`fuseport fold`: the table of rewrites, its JSON, the saved program, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny
import torch
from fuseport import models
from fuseport.export import folding
from fuseport.export.folding import fold_source, save
from fuseport.export.job import Source
from fuseport.export.pipeline import UsageError
from fuseport.export.program import Prepared
from fuseport.models.loaded import load
from fuseport.reparam import RULES, driver
from test_cli import run


@pytest.fixture(scope="module")
def prepared() -> Iterator[Prepared]:
    """`shvit_tiny` folded once; the variant is known as long as these tests run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "FAMILIES", (*models.FAMILIES, tiny.family()))
        yield fold_source(Source("shvit_tiny"))


@pytest.fixture
def given(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> Prepared:
    """What the command gets to print without folding again."""
    monkeypatch.setattr(folding, "fold_source", lambda source, announce: prepared)
    return prepared


def test_the_table_has_every_rewrite_and_the_cost_of_the_whole(
    given: Prepared, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("fuseport", "fold", "shvit_tiny") == 0
    printed = capsys.readouterr().out
    folded = given.folded
    for step in folded.rewrites:
        assert step.rule in printed
        assert step.where in printed
    assert f"{folded.before.parameters:,}" in printed
    assert f"{folded.after.parameters:,}" in printed
    assert f"shvit_tiny: {len(folded.rewrites)} rewrites, {len(folded.refusals)} refused" in printed
    names = tuple(rule.NAME for rule in RULES)
    rows = [line for line in printed.splitlines() if line.lstrip().startswith(names)]
    assert len(rows) == len(folded.rewrites)


@pytest.mark.usefixtures("prepared")
def test_the_json_has_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fuseport", "fold", "shvit_tiny", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["variant"] == "shvit_tiny"
    assert told["before"]["batch_norms"] > told["after"]["batch_norms"] == 0
    assert told["after"]["nodes"] < told["before"]["nodes"]
    assert all(step["error"] <= 1e-10 and step["before"] for step in told["rewrites"])
    assert told["error"] < 1e-10


def test_the_saved_program_computes_what_the_model_computes(prepared: Prepared, tmp_path: Path) -> None:
    target = tmp_path / "folded.pt2"
    save(prepared, target)
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = load("shvit_tiny").module(picture)
        torch.testing.assert_close(torch.export.load(target).module()(picture), expected, rtol=1e-4, atol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["folded.pt2"]


@pytest.mark.usefixtures("given")
def test_quiet_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fuseport", "fold", "shvit_tiny", "--quiet") == 0
    assert capsys.readouterr().out == ""


NOT_LOADED = [
    (["shvit_s9"], "unknown variant 'shvit_s9'"),
    (["shvit_s1", "--output", "x.onnx"], "--output must end in .pt2"),
    (["shvit_s1", "--checkpoint", "there_is_none.pth"], "no such file"),
    (["shvit_s1", "--checkpoint", "broken.pth"], "broken.pth"),
    (["--model", "there_is_none.py:build", "--input-shape", "1,4"], "there_is_none.py"),
    (["--model", "net.py:absent", "--input-shape", "1,4"], "absent"),
    (["--model", "net.py:Fails", "--input-shape", "1,4"], "no weights today"),
    (["--model", "unreadable.py:build", "--input-shape", "1,4"], "unreadable.py"),
    (["--model", "net.py:Branching"], "--input-shape"),
]

NETS = """
from torch import nn

class Fails(nn.Module):
    def __init__(self):
        raise RuntimeError("no weights today")

class Branching(nn.Module):
    def forward(self, x):
        return x.exp() if x.sum() > 0 else x.sin()
"""


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with models and a checkpoint that are of no use."""
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NETS)
    Path("unreadable.py").write_text("def build(:\n")
    Path("broken.pth").write_bytes(b"PK\x03\x04 and no more")


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(("words", "told"), NOT_LOADED)
def test_what_cannot_be_loaded_is_wrong_usage(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fuseport", "fold", *words, "--quiet") == 2
    (error,) = capsys.readouterr().err.strip().splitlines()
    assert error.startswith("error: ")
    assert told in error


@pytest.mark.usefixtures("workplace")
def test_what_cannot_be_captured_has_failed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fuseport", "fold", "--model", "net.py:Branching", "--input-shape", "1,4", "--quiet") == 1
    assert "net.py" in capsys.readouterr().err


@pytest.mark.usefixtures("prepared")
def test_what_cannot_be_folded_has_failed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(driver, "deviation", lambda *args: 1e-3)
    assert run("fuseport", "fold", "shvit_tiny", "--quiet") == 1
    assert "deviates from the captured one by 1.0e-03" in capsys.readouterr().err


def test_a_model_that_cannot_be_loaded_is_told_apart() -> None:
    with pytest.raises(UsageError, match="unknown variant"):
        fold_source(Source("shvit_s9"))
