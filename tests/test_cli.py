"""The commands as a shell sees them: output, one line for each error, exit codes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from fuseport.export import cli, pipeline


def run(*words: str) -> int:
    """Exit code of a command given as on the command line."""
    program, *rest = words
    before, sys.argv = sys.argv, [program, *rest]
    try:
        with pytest.raises(SystemExit) as stop:
            {"export-model": cli.export_model, "fuseport": cli.main}[program]()
    finally:
        sys.argv = before
    return int(stop.value.code or 0)


def export_tiny(folder: Path, *more: str) -> int:
    return run(
        "export-model",
        "--variant",
        "shvit_tiny",
        "--format",
        "onnx",
        "--samples",
        "1",
        "--output-dir",
        str(folder),
        *more,
    )


@pytest.mark.usefixtures("tiny")
def test_a_run_tells_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export_tiny(tmp_path) == 0
    printed = capsys.readouterr()
    for told in (
        "folded: ",
        "conv-bn",
        "shvit_tiny.onnx",
        "passed",
        "coverage of shvit_tiny.onnx: the check sees all ",
        "random, conditioned, seed 0",
    ):
        assert told in printed.out
    assert "convert to onnx …" in printed.err.splitlines()


@pytest.mark.usefixtures("tiny")
def test_json_is_the_report_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export_tiny(tmp_path, "--json") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == json.loads((tmp_path / "shvit_tiny.report.json").read_text())
    assert printed.err == ""


@pytest.mark.usefixtures("tiny")
def test_quiet_prints_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export_tiny(tmp_path, "--quiet") == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("tiny")
def test_a_failed_check_exits_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export_tiny(tmp_path, "--quiet", "--atol", "1e-12") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "shvit_tiny.failed" in line


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--format", "onnx"], "no model: give a name of `fuseport list`, or your own with --model FILE.py:NAME"),
        (["--variant", "nope", "--format", "onnx"], "unknown variant 'nope'; known: shvit_s1"),
        (["--variant", "shvit_s5", "--format", "onnx"], "did you mean shvit_s"),
        (["--variant", "shvit_s1"], "no format asked for; known: onnx, coreml"),
        (["--variant", "shvit_s1", "--format", "tflite"], "unknown format 'tflite'; known: onnx, coreml"),
        (["--variant", "shvit_s1", "--format", "onnx", "--samples", "0"], "--samples must be at least 1"),
        (["--variant", "shvit_s1", "--format", "onnx", "--dynamic-batch", "8:2"], "--dynamic-batch takes FROM:TO"),
        (["--variant", "shvit_s1", "--format", "onnx", "--dynamic-batch", "many"], "--dynamic-batch takes FROM:TO"),
        (["--variant", "shvit_s1", "--format", "onnx", "--model-arg", "features"], "KEY=VALUE"),
        (["--variant", "shvit_s1", "--format", "onnx", "--image-input", "bgr"], "nhwc or nchw"),
        (["--variant", "shvit_s1", "--format", "onnx", "--checkpoint", "a", "--pretrained"], "give one of them"),
        (["--variant", "shvit_s1", "--format", "onnx", "--precision", "int8"], "'int8' is not one of"),
        (["--variant", "shvit_s1", "--no-such-option"], "no-such-option"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("export-model", *words) == 2
    printed = capsys.readouterr()
    lines = [line for line in printed.err.splitlines() if not line.endswith("…")]
    assert len(lines) == 1
    assert told in lines[0]
    assert printed.out == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KeyboardInterrupt(), "error: interrupted; nothing was written"),
        (RuntimeError("odd\nthing"), "error: RuntimeError: odd; --debug shows where"),
        (
            pipeline.NotWritten("cannot write x: No space left on device"),
            "error: cannot write x: No space left on device",
        ),
    ],
)
def test_other_errors_are_one_line_and_exit_code_1(
    error: BaseException, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*args: object, **named: object) -> None:
        raise error

    monkeypatch.setattr(pipeline, "export", broken)
    assert run("export-model", "--variant", "shvit_s1", "--format", "onnx", "--quiet") == 1
    assert capsys.readouterr().err.split("\n")[-2:] == [told, ""]


def test_list_flags_the_claims_that_are_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fuseport", "list") == 0
    printed = capsys.readouterr().out
    assert "0.4 G ✗" in printed
    assert "26.5 M ✗" in printed
    assert printed.count("is wrong: measured") == 2
    assert run("fuseport", "list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    wrong = [(entry["name"], claim["text"]) for entry in listed for claim in entry["claims"] if claim["wrong"]]
    assert wrong == [("swiftformer_xs", "0.4 G"), ("swiftformer_l3", "26.5 M")]


def test_show_prints_one_variant(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fuseport", "show", "shvit_s4") == 0
    printed = capsys.readouterr().out
    for told in ("16,588,484", "16,546,248", "986,216,960", "79.4 %", "256×256", "shvit_s4.pth"):
        assert told in printed
    assert run("fuseport", "show", "shvit_s9") == 2
    assert "did you mean" in capsys.readouterr().err


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fuseport", "--version") == 0
    assert run("export-model", "--help") == 0
    printed = capsys.readouterr().out
    assert "fuseport, version " in printed
    assert "--dynamic-batch" in printed


@pytest.mark.usefixtures("tiny")
def test_a_package_becomes_onnx(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (
        "--variant",
        "shvit_tiny",
        "--format",
        "coreml",
        "--samples",
        "1",
        "--quiet",
        "--output-dir",
        str(tmp_path),
    )
    assert run("export-model", *words) == 0
    assert run("fuseport", "convert", str(tmp_path / "shvit_tiny.mlpackage"), str(tmp_path / "back.onnx")) == 0
    assert "shvit_tiny.mlpackage → " in capsys.readouterr().out
    assert (tmp_path / "back.onnx").stat().st_size > 10_000
    assert run("fuseport", "convert", str(tmp_path / "nothing.mlpackage"), str(tmp_path / "other.onnx")) == 1
    assert run("fuseport", "convert", str(tmp_path / "shvit_tiny.mlpackage"), str(tmp_path / "back.txt")) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 2
    assert not (tmp_path / "other.onnx").exists()
