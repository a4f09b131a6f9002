"""`fuseport check` with a baseline, as a team keeps it: accept, pass again, drift, accept the drift."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import onnx
import pytest
from exported import edited
from onnx import helper
from test_cli import run

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture
def project(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with the tiny ONNX file and its report under build/."""
    (tmp_path / "build").mkdir()
    for name in ("shvit_tiny.onnx", "shvit_tiny.report.json"):
        shutil.copy(exported / name, tmp_path / "build")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def with_identity(path: Path) -> None:
    """The same function with one operator more."""
    model = onnx.load(path)
    (out,) = model.graph.output
    model.graph.node.append(helper.make_node("Identity", [out.name], ["logits_copied"]))
    renamed = model.graph.output[0]
    made = next(node for node in model.graph.node if out.name in node.output)
    made.output[0], model.graph.node[-1].input[0] = "before", "before"
    model.graph.node[-1].output[0] = renamed.name
    onnx.save(model, path)


def check(*words: str) -> int:
    return run("fuseport", "check", "--samples", "2", *words)


def test_the_life_of_a_baseline(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, baseline = project / "build" / "shvit_tiny.onnx", project / "fuseport.baseline.json"
    assert check("build/shvit_tiny.onnx", "--update-baseline") == 0
    assert list(json.loads(baseline.read_text())["artifacts"]) == ["build/shvit_tiny.onnx"]
    text = baseline.read_text()
    with_identity(path)
    capsys.readouterr()
    words = (
        "--baseline",
        baseline.name,
        "--report",
        "junit=parity.xml",
        "--report",
        "md=parity.md",
        "--report",
        "html",
    )
    assert check(*words) == 1  # the files are those of the baseline
    printed = capsys.readouterr()
    assert "operator Identity: none → 1" in printed.out
    assert "not as fuseport.baseline.json accepts it: build/shvit_tiny.onnx: sha256" in printed.err
    failed = [
        case.get("name")
        for case in ElementTree.parse("parity.xml").iter("testcase")
        if case.find("failure") is not None
    ]
    assert failed == ["drift"]
    assert "| operator Identity | none | 1 |" in Path("parity.md").read_text(encoding="utf-8")
    assert "Against fuseport.baseline.json" in Path("check.report.html").read_text(encoding="utf-8")
    assert baseline.read_text() == text
    assert check("build/shvit_tiny.onnx", "--update-baseline", "--quiet") == 0
    assert check("--baseline", baseline.name, "--json") == 0
    assert json.loads(capsys.readouterr().out)["watched"]["drifts"] == []


def test_a_failed_file_never_becomes_the_baseline(
    exported: Path, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edited(exported, project / "build", lambda weight: 1.01 * weight)
    assert check("build/shvit_tiny.onnx", "--update-baseline") == 1
    assert "fuseport.baseline.json stays as it was" in capsys.readouterr().err
    assert not Path("fuseport.baseline.json").exists()
    loose = ("build/shvit_tiny.onnx", "--update-baseline", "--atol", "100", "--quiet")
    assert check(*loose) == 2
    assert "say why with --reason" in capsys.readouterr().err
    assert check(*loose, "--reason", "a test of ours") == 0
    assert check("--baseline", "fuseport.baseline.json", "--quiet") == 0  # with the tolerance that was accepted
    accepted = json.loads(Path("fuseport.baseline.json").read_text())["artifacts"]["build/shvit_tiny.onnx"]["tolerance"]
    assert accepted == {"atol": 100.0, "rtol": 0.0, "reason": "a test of ours"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "nothing to check: name .onnx or .mlpackage files, or --baseline FILE"),
        (("--baseline", "no.json"), "no.json: there is no such baseline; --update-baseline makes it"),
        (("--update-baseline",), "holds no files yet; name those to check"),
        (("a.onnx", "--reason", "x"), "--reason says why --atol or --rtol is right"),
        (("a.onnx", "--baseline", "b.json", "--atol", "1"), "a baseline holds its own tolerances"),
        (("a.onnx", "--summary"), "--summary needs GITHUB_STEP_SUMMARY"),
        (("--baseline", "conflict.json"), "has a merge conflict at line 1"),
    ],
)
def test_wrong_usage_is_one_line(
    words: tuple[str, ...],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    (tmp_path / "conflict.json").write_text("<<<<<<< ours\n")
    assert run("fuseport", "check", *words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert told in line


def test_the_summary_of_a_job_is_added_to(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = project / "summary.md"
    summary.write_text("# Built\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    assert check("build/shvit_tiny.onnx", "--summary", "--quiet") == 0
    assert summary.read_text(encoding="utf-8").startswith("# Built\n## ✅ shvit\\_tiny.onnx: passed")
