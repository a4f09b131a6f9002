"""`fuseport check` with a baseline, as a team keeps it: accept, pass again, drift, accept the drift."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from exported import doubling
from test_cli import run

NET, BASELINE = "build/net.onnx", "fuseport.baseline.json"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with build/net.onnx, which doubles, and build/cases.npz, which says so."""
    (tmp_path / "build").mkdir()
    doubling(tmp_path / NET)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(*words: str) -> int:
    return run("fuseport", "check", "--inputs", "build/cases.npz", *words)


def test_the_life_of_a_baseline(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(NET, "--update-baseline") == 0
    text = Path(BASELINE).read_text(encoding="utf-8")
    assert list(json.loads(text)["artifacts"]) == [NET]
    doubling(project / NET, identity=True)
    capsys.readouterr()
    reports = ("--report", "junit=parity.xml", "--report", "md=parity.md", "--report", "html")
    assert check("--baseline", BASELINE, *reports) == 1  # the files are those of the baseline
    printed = capsys.readouterr()
    assert "operator Identity: none → 1" in printed.out
    assert "not as fuseport.baseline.json accepts it: build/net.onnx: sha256" in printed.err
    cases = ElementTree.parse("parity.xml").iter("testcase")
    assert [case.get("name") for case in cases if case.find("failure") is not None] == ["drift"]
    assert "| operator Identity | none | 1 |" in Path("parity.md").read_text(encoding="utf-8")
    assert "Against fuseport.baseline.json" in Path("check.report.html").read_text(encoding="utf-8")
    assert Path(BASELINE).read_text(encoding="utf-8") == text
    assert check(NET, "--update-baseline", "--quiet") == 0
    assert check("--baseline", BASELINE, "--json") == 0
    assert json.loads(capsys.readouterr().out)["watched"]["drifts"] == []


def test_a_baseline_that_cannot_be_kept_or_whose_files_are_gone_is_said_before_the_check(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(NET, "--update-baseline", "--baseline", "nowhere/b.json") == 2
    assert "--baseline nowhere/b.json is in a folder that does not exist" in capsys.readouterr().err
    assert check(NET, "--update-baseline", "--quiet") == 0
    (project / NET).unlink()
    assert check("--baseline", BASELINE) == 2
    assert f"{NET}: named by {BASELINE}, but there is no such file" in capsys.readouterr().err


def test_a_failed_file_never_becomes_the_baseline(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    doubling(project / NET, factor=2.1)
    assert check(NET, "--update-baseline") == 1
    assert "fuseport.baseline.json stays as it was" in capsys.readouterr().err
    assert not Path(BASELINE).exists()
    loose = (NET, "--update-baseline", "--rtol", "0.1", "--quiet")
    assert check(*loose) == 2
    assert "say why with --reason" in capsys.readouterr().err
    assert check(*loose, "--reason", "a test of ours") == 0
    assert check("--baseline", BASELINE, "--quiet") == 0  # with the tolerance that was accepted
    accepted = json.loads(Path(BASELINE).read_text(encoding="utf-8"))["artifacts"][NET]["tolerance"]
    assert accepted == {"atol": 0.0, "rtol": 0.1, "reason": "a test of ours"}
    doubling(project / NET, factor=2.5)
    assert check("--baseline", BASELINE, "--quiet") == 1
    assert "exceed the given tolerance" in capsys.readouterr().err


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
    assert check(NET, "--summary", "--quiet") == 0
    assert summary.read_text(encoding="utf-8").startswith("# Built\n## ✅ net.onnx: passed")
