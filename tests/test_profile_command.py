"""`fuseport profile`: tables, JSON and pages; exit codes; wrong use in one line."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fuseport.export.commands.profile import command
from fuseport.export.commands.profile_tables import print_report
from fuseport.export.profile.profile_report import Throughput
from profile_samples import latency, profile_report, small_onnx

BRIEF = ("--time-limit", "0", "--samples", "5")


def run(*words: str) -> Result:
    return CliRunner().invoke(command, [*words], standalone_mode=False)


def test_a_run_prints_its_figures_and_conditions(tmp_path: Path):
    path = str(small_onnx(tmp_path))
    done = run(path, path, *BRIEF, "--throughput", "1,2", "--per-operator", "--batch", "2")
    assert (done.exception, done.return_value) == (None, 0)
    for told in ("small.onnx, ONNX Runtime", "median ms", "batch 2", "stem.conv", "Conv", "load average", "1 thread,"):
        assert told in done.stdout
    assert "measure by turns, batch 2" in done.stderr


def test_json_is_the_report_and_nothing_else(tmp_path: Path):
    done = run(str(small_onnx(tmp_path)), *BRIEF, "--json")
    report = json.loads(done.stdout)
    assert report["schema"] == "fuseport.profile/1"
    assert report["entrants"][0]["latency"]["samples"] == 5
    assert done.stderr == ""


def test_every_format_of_the_report_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    words = [word for form in ("html", "md", "json", "junit") for word in ("--report", form)]
    done = run(str(small_onnx(tmp_path)), *BRIEF, "--quiet", *words)
    assert (done.exception, done.stdout) == (None, "")
    for suffix in ("html", "md", "json", "xml"):
        assert (tmp_path / f"small.profile.report.{suffix}").stat().st_size > 500


def test_a_model_of_one_s_own_runs_beside_a_file(tmp_path: Path):
    code = "import torch\n\ndef build():\n    return torch.nn.Conv2d(3, 4, 3)\n"
    (tmp_path / "net.py").write_text(code)
    words = ("--model", f"{tmp_path / 'net.py'}:build", "--input-shape", "1,3,8,8", *BRIEF, "--json")
    done = run(str(small_onnx(tmp_path)), *words)
    assert done.exception is None
    entrants = json.loads(done.stdout)["entrants"]
    assert [entrant["backend"] for entrant in entrants] == ["torch", "ort-cpu"]
    assert all("median_ms" in entrant["latency"] for entrant in entrants)


def test_where_nothing_runs_the_exit_code_is_1(tmp_path: Path):
    (tmp_path / "m.mlpackage").mkdir()
    (tmp_path / "m.mlpackage" / "Manifest.json").write_text("{}")
    done = run(str(tmp_path / "m.mlpackage"), "--backend", "executor", *BRIEF)
    assert done.return_value == 1
    assert "the executor cannot run m.mlpackage" in done.stdout
    quiet = run(str(tmp_path / "m.mlpackage"), "--backend", "executor", *BRIEF, "--quiet")
    assert (quiet.return_value, quiet.stdout) == (1, "")
    assert quiet.stderr.startswith("error: nothing ran: the executor cannot run m.mlpackage")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "nothing to time"),
        (("nope.onnx",), "does not exist"),
        (("shvit_s9",), "unknown variant"),
        (("shvit_s1", "--backend", "tpu"), "unknown backend 'tpu'"),
        (("shvit_s1", "--throughput", "1,0"), "--throughput takes batch sizes as in 1,4,16; got '1,0'"),
        (("shvit_s1", "--threads", "0"), "--threads"),
        (("shvit_s1", "--report", "pdf"), "--report takes FORMAT"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(words: tuple[str, ...], told: str):
    done = CliRunner().invoke(command, [*words, *BRIEF])
    assert done.exit_code == 2
    assert told in done.output
    assert "Traceback" not in done.output


def test_the_tables_tell_everything_that_was_found_and_why_something_was_not(capsys: pytest.CaptureFixture[str]):
    print_report(profile_report())
    out = capsys.readouterr().out
    for told in (
        "small, PyTorch eager: its process was killed",
        "Core ML, all compute units: Core ML prediction needs macOS",
        "it takes a batch of 1 alone, not 8",
        "planned on ane 1, cpu 1",
        "roofline 2.0 GFLOP/s, 1.0 GB/s",
        "25.0%",
        "(no module)",
        "small, PyTorch eager: a note",
        "fastest: small.onnx, ONNX Runtime CPU",
    ):
        assert told in out
    assert out.count("needs macOS") == 1, "each reason once"
    assert "busy" not in out


def test_a_busy_machine_an_open_median_and_a_restless_run_are_said(capsys: pytest.CaptureFixture[str]):
    from dataclasses import replace

    report = profile_report()
    first, second, *_ = report.entrants
    open_ = replace(latency(4.0), settled=False)
    rate = Throughput(1, 111.1, 90.0, 130.0, latency(9.0, spread=0.6), None)
    wild = replace(second, latency=rate.latency, throughput=(rate,))
    busy = replace(report.conditions, load_before=3.5)
    print_report(replace(report, entrants=(replace(first, latency=open_), wild), conditions=busy))
    out = capsys.readouterr().out
    assert "busy before: load average 3.50 on 2 cores" in out
    assert "time ran out with the median known to ±1." in out
    assert "111.1 (90.0–130.0) UNRELIABLE" in out
    assert "UNRELIABLE: half of the samples" in out
    assert "fastest" not in out
