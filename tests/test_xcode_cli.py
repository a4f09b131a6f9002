"""`fuseport xcode` as a user meets it: what it prints, what it keeps, what it refuses, and its exit codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fuseport.export.commands.xcode import command as xcode
from fuseport.validate.xcode.store import rows
from xcode_samples import EXPECTED, MAC, PERSONAL, PHONE, export_report, phone

IDS = ("1b9347a1", "c4ca667e")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "store" / "reports.sqlite"
    monkeypatch.setenv("FUSEPORT_STORE", str(path))
    return path


@pytest.fixture
def filled(store: Path) -> Path:
    assert run("import", PHONE.parent, MAC, "--quiet").exit_code == 0
    return store


def run(*words: object) -> Result:
    """The command's result; anything but an orderly end fails the test."""
    result = CliRunner().invoke(xcode, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def run_json(*words: object) -> Any:
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def error(*words: object, code: int = 1) -> str:
    """The one line on stderr of a command that fails."""
    result = run(*words)
    assert result.exit_code == code, result.output
    (line,) = result.stderr.splitlines()
    return line


def test_import_prints_what_a_reader_asks_first(store: Path, tmp_path: Path) -> None:
    result = run("import", PHONE.parent, "--export", export_report(tmp_path), "--note", "Xcode 26.1")
    assert result.exit_code == 0
    for words in (
        "tinynet on iPhone 16 Pro, iOS 26.5.2 (All)  [1b9347a1]",
        "match exact (export id demo-0001 equal); module found for 15 of 15 operations",
        "Neural Engine → CPU: probs (softmax) → top_values (topk)",
        "time estimated: share of the cost weight × median prediction; a cost share is not a share of the time",
        "0.4409, 0.4367, 0.4334 (1.7% apart)",
        "note: Xcode 26.1",
        "The file does not tell: Xcode version",
        "1 new in the store, 0 known before.",
    ):
        assert words in result.stdout
    assert not any(word in result.output for word in PERSONAL)


def test_import_as_json(store: Path, tmp_path: Path) -> None:
    value = run_json("import", PHONE, MAC, "--export", tmp_path, "--export", export_report(tmp_path))
    assert [r["new"] for r in value["reports"]] == [True, True]
    for report, expected in zip(
        value["reports"], [v for k, v in EXPECTED.items() if k.startswith("tinynet")], strict=True
    ):
        assert round(report["statistics"]["predict"]["median"] * 1e3, 6) == expected["predict"]["median_ms"]
    assert not any(word in json.dumps(value) for word in PERSONAL)
    assert run_json("import", PHONE)["reports"][0]["new"] is False


def test_nothing_personal_reaches_the_store(filled: Path) -> None:
    text = json.dumps([run_json("show", i) for i in IDS]) + repr(rows(filled))
    assert not any(word.lower() in text.lower() for word in PERSONAL)
    assert not any(word.encode() in filled.read_bytes() for word in PERSONAL)


def test_identifiers_are_kept_when_asked(store: Path) -> None:
    value = run_json("import", PHONE, "--keep-identifiers")
    assert value["reports"][0]["device"]["identifiers"]["serialNumber"] == "SYNTHETIC01"


def test_quiet_and_no_store(store: Path) -> None:
    assert run("import", PHONE, "--quiet").output == ""
    assert run("import", MAC, "--no-store").exit_code == 0
    assert len(rows(store)) == 1


@pytest.mark.parametrize("by", ["module", "type", "operation"])
def test_cost_tables(store: Path, tmp_path: Path, by: str) -> None:
    found = run("import", PHONE, "--export", export_report(tmp_path), "--by", by, "--top", 2, "--depth", 1).stdout
    first = {"module": "blocks", "type": "conv", "operation": "input_1_cast_fp16 (conv)"}[by]
    assert f"\n{first} " in found
    assert "more)" in found


def test_many_reports_are_one_table(store: Path, tmp_path: Path) -> None:
    for i in range(4):
        (tmp_path / f"{i}.json").write_text(json.dumps(phone() | {"computeUnit": i}))
    found = run("import", tmp_path).stdout
    assert "4 new in the store" in found
    assert found.count("iPhone 16 Pro") == 4


def test_one_bad_file_stores_nothing(store: Path, tmp_path: Path) -> None:
    shutil.copytree(PHONE.parent, tmp_path / "a" / PHONE.parent.name)
    (tmp_path / "a" / "cut.json").write_bytes(PHONE.read_bytes()[:70_000])
    result = run("import", tmp_path / "a", "--quiet")
    assert result.exit_code == 1
    first, last = result.stderr.splitlines()
    assert first.startswith("error: a/cut.json: broken JSON at line")
    assert last == "error: nothing was stored; --keep-going stores the readable reports"
    assert not store.exists()
    result = run("import", tmp_path / "a", "--keep-going", "--quiet")
    assert (result.exit_code, len(rows(store))) == (1, 1)


def test_a_report_of_another_model(filled: Path, tmp_path: Path) -> None:
    other = phone()
    other["deviceResults"]["predict"]["samples"][0] = 1.0
    (tmp_path / "other.json").write_text(json.dumps(other))
    before = filled.read_bytes()
    line = error("import", tmp_path / "other.json", "--export", export_report(tmp_path, export_id="x-2"))
    assert line.startswith("error: other.json: a report of another model than tinynet.report.json exported: export id")
    assert filled.read_bytes() == before


@pytest.mark.parametrize(("content", "message"), [
    (b"{}", "JSON, but no performance report"),
    (b"[" * 200_000, "nested too deeply"),
    (PHONE.read_bytes().replace(b"0.06087541580200195", b"NaN"), "NaN is no JSON number"),
    (PHONE.read_bytes().replace(b"0.06087541580200195", b"1e999"), "compile.samples[0]: expected a number"),
    (PHONE.read_bytes().replace(b'"size" : 16126', b'"size" : "16126"'), "modelMetadata.size: expected a whole number"),
    (b"", "an empty file"),
])  # fmt: skip
def test_bad_files_get_one_line(store: Path, tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.json").write_bytes(content)
    line = error("import", tmp_path / "x.json")
    assert line.startswith("error: x.json: ")
    assert message in line
    assert not store.exists()


def test_other_tools_and_what_the_user_says_of_the_device(store: Path, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("Graph: [net.tflite]\nInference timings in us: Init: 9, Inference (avg): 80\n")
    (report,) = run_json("import", tmp_path / "log", "--device", "Pixel 9", "--os", "Android 16")["reports"]
    assert (report["device"]["model"], report["device"]["os"]) == ("Pixel 9", "Android 16")
    assert report["warnings"] == ["device and OS as given on import, not by the file"]
    (report,) = run_json("import", PHONE, "--device", "Pixel 9")["reports"]
    assert report["device"]["model"] == "iPhone 16 Pro"


def test_published_latency_beside(store: Path, tmp_path: Path) -> None:
    text = PHONE.read_text(encoding="utf-8").replace('"fileName" : "tinynet"', '"fileName" : "SwiftFormer_L1"')
    (tmp_path / "x.json").write_text(text, encoding="utf-8")
    found = run("import", tmp_path / "x.json").stdout
    assert "Published for swiftformer_l1: 1.1ms on iPhone 14 (iOS 16); here 0.437 ms, 0.40 times that" in found
    assert "differs: device: iPhone 16 Pro here, iPhone 14 there" in found


def test_list(filled: Path) -> None:
    found = run("list").stdout
    assert found.index("c4ca667e") < found.index("1b9347a1")  # the newest run first
    value = run_json("list", "--device", "iPhone 16 Pro")
    assert [row["model"] for row in value["reports"]] == ["tinynet"]
    assert "1 more; --limit 0 shows all." in run("list", "--limit", 1).stdout
    assert error("list", "--store", filled.parent / "none") == (
        "error: none: no store there yet; `fuseport xcode import` makes it"
    )


def test_show(filled: Path) -> None:
    assert "97 samples where 3 × 40 were planned" in run("show", "c4ca").stdout
    assert "iPhone 16 Pro" in run("show", PHONE).stdout
    assert "no report begins with this id" in error("show", "ffff")


def test_compare_matrix(filled: Path) -> None:
    found = run("compare").stdout
    assert "MacBook Pro (14-inch, M4 Pro)" in found
    assert [cell["reports"] for cell in run_json("compare")["cells"]] == [1, 1]
    assert run_json("compare", "--device", "none")["cells"] == []


def test_compare_two(filled: Path) -> None:
    found = run("compare", IDS[0], MAC, "--top", 3).stdout
    assert "differs as well: compute units: All → CPU only" in found
    assert "left the Neural Engine: input_1_cast_fp16 (conv), Neural Engine → CPU" in found
    assert "and 11 more; --top shows them" in found
    value = run_json("compare", *IDS)
    assert len(value["moves"]) == 13
    assert run("compare", IDS[0]).exit_code == 2


def test_gate_passes_fails_and_says_too_noisy(filled: Path, tmp_path: Path) -> None:
    assert run("gate", IDS[0], "--rule", "predict.p95<=16ms", "--rule", "ane.share>=0.9").exit_code == 0
    assert run("gate", IDS[0], IDS[1], "--rule", "ane.share>=0.9", "--quiet").exit_code == 1
    noisy = ("gate", PHONE, "--rule", "load.uncached<=700ms", "--junit", tmp_path / "j", "--markdown", tmp_path / "m")
    assert run(*noisy).exit_code == 1
    assert 'type="too-noisy"' in (tmp_path / "j").read_text(encoding="utf-8")
    assert "⚠️ too noisy" in (tmp_path / "m").read_text(encoding="utf-8")
    assert run(*noisy, "--allow-noisy").exit_code == 0
    assert "<skipped" in (tmp_path / "j").read_text(encoding="utf-8")


def test_gate_as_json(filled: Path) -> None:
    value = run_json("gate", IDS[0], "--rule", "size<=1MB")
    assert value["reports"][0]["verdicts"][0]["outcome"] == "pass"


def test_gate_against_the_report_before(filled: Path, tmp_path: Path) -> None:
    slower = phone()
    predict = slower["deviceResults"]["predict"]
    predict["samples"] = [1.3 * s for s in predict["samples"]]
    for key in ("compile", "load", "predict"):
        slower["deviceResults"][key]["startTime"] += 1000
    (tmp_path / "slower.json").write_text(json.dumps(slower))
    result = run("gate", tmp_path / "slower.json", "--max-regression", "5%")
    assert result.exit_code == 1
    assert "0.437 ms → 0.5681 ms, +30.0%" in result.stdout
    assert run("gate", tmp_path / "slower.json", "--max-regression", "50%", "--base", IDS[0]).exit_code == 0
    loads = ("--metric", "predict.median", "--metric", "load.cached")
    assert "load.cached at most 50 %" in run("gate", tmp_path / "slower.json", "--max-regression", "50%", *loads).stdout
    assert "no earlier report of tinynet on iPhone 16 Pro (All)" in error("gate", IDS[0], "--max-regression", "5%")


@pytest.mark.parametrize(("words", "message"), [
    (("--rule", "predict<=5"), "a time takes s, ms, us, µs; found no unit"),
    (("--rule", "speed<=5"), "unknown metric 'speed'"),
    (("--max-regression", "5", "--base", IDS[0]), "expected a percentage"),
    (("--max-regression", "5%", "--base", IDS[1]), "cannot be compared: device"),
    ((), "nothing to judge"),
])  # fmt: skip
def test_gates_that_cannot_be_understood(filled: Path, words: tuple[str, ...], message: str) -> None:
    assert message in error("gate", IDS[0], *words, code=2)


def test_a_junit_file_that_cannot_be_written(filled: Path, tmp_path: Path) -> None:
    line = error("gate", IDS[0], "--rule", "size<=1MB", "--junit", tmp_path / "no" / "x.xml")
    assert line == "error: x.xml: No such file or directory"


def test_redact(tmp_path: Path) -> None:
    result = run("redact", PHONE.parent, tmp_path / "shared.mlperf")
    assert result.stdout.strip().endswith("4 texts replaced")
    assert not any(word in (tmp_path / "shared.mlperf/report.json").read_text(encoding="utf-8") for word in PERSONAL)
    assert "exists already" in error("redact", PHONE, tmp_path / "shared.mlperf")
    assert run_json("redact", PHONE, tmp_path / "copy.json")["copies"][0]["changes"] == 4
    assert run("redact", PHONE, tmp_path / "quiet.json", "--quiet").output == ""


def test_foreign_texts_are_printed_as_they_are(store: Path, tmp_path: Path) -> None:
    text = PHONE.read_text(encoding="utf-8").replace("iPhone 16 Pro", "[bold]x[/bold] :smile: \\u001b[31m")
    (tmp_path / "x.json").write_text(text, encoding="utf-8")
    found = run("import", tmp_path / "x.json").stdout
    assert "[bold]x[/bold] :smile: \ufffd[31m" in found


def test_no_heavy_library_is_imported_for_help() -> None:
    import subprocess
    import sys

    code = """
import sys
from fuseport.export.commands.xcode import command as xcode
try:
    xcode(["import", "--help"])
except SystemExit:
    pass
print([name for name in ("torch", "numpy", "rich", "sqlite3", "coremltools") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
