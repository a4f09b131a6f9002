"""`--report` and `fuseport report` as a shell sees them, and the templates that an installed package must bring."""

from __future__ import annotations

import configparser
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from fuseport.export import cli
from fuseport.export.page import html
from fuseport.export.page.write import Target, remove_stale
from page_samples import EXPORT, SAMPLES

ROOT = Path(__file__).parent.parent


def test_a_saved_report_becomes_a_page_beside_it(tmp_path: Path) -> None:
    saved = tmp_path / "net.report.json"
    shutil.copy(EXPORT, saved)
    assert CliRunner().invoke(cli.group, ["report", str(saved)]).exit_code == 0
    assert (tmp_path / "net.report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_an_import_and_a_comparison_write_their_reports(tmp_path: Path) -> None:
    page, cases = tmp_path / "import.html", tmp_path / "compare.xml"
    samples = [str(path) for path in sorted((SAMPLES / "xcode").glob("tinynet*"))]
    runner = CliRunner()
    done = runner.invoke(cli.group, ["xcode", "import", *samples, "--no-store", "--quiet", "--report", f"html={page}"])
    assert done.exit_code == 0, done.output
    assert "How fast is each?" in page.read_text(encoding="utf-8")
    done = runner.invoke(cli.group, ["xcode", "compare", *samples, "--report", f"junit={cases}"])
    assert done.exit_code == 0, done.output
    assert "<testsuites" in cases.read_text(encoding="utf-8")


def test_a_gate_writes_its_verdicts_and_allowed_noise_is_skipped(tmp_path: Path) -> None:
    phone = str(SAMPLES / "xcode" / "tinynet-Demo Phone.mlperf")
    page, cases = tmp_path / "gate.html", tmp_path / "gate.xml"
    words = [
        "xcode",
        "gate",
        phone,
        "--rule",
        "load.uncached<=700ms",
        "--report",
        f"html={page}",
        "--report",
        f"junit={cases}",
    ]
    assert CliRunner().invoke(cli.group, words).exit_code == 1
    assert "too noisy" in page.read_text(encoding="utf-8")
    assert "<failure" in cases.read_text(encoding="utf-8")
    assert CliRunner().invoke(cli.group, [*words, "--allow-noisy"]).exit_code == 0
    assert "<skipped" in cases.read_text(encoding="utf-8")
    assert "<failure" not in cases.read_text(encoding="utf-8")


def test_pages_of_an_earlier_report_are_removed_and_nothing_else(tmp_path: Path) -> None:
    for suffix in (".html", ".md", ".xml", ".json"):
        (tmp_path / f"net.report{suffix}").write_text("fuseport 0.1.0 · fuseport.report/1")
    (tmp_path / "other.report.html").write_text("fuseport")
    (tmp_path / "net.report.xml").write_text("somebody else's")
    removed = remove_stale([Target("md")], tmp_path, "net")
    assert removed == [tmp_path / "net.report.html"]
    assert len(list(tmp_path.iterdir())) == 4


def test_an_unknown_format_is_wrong_usage(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli.group, ["report", str(EXPORT), "--report", "pdf"])
    assert done.exit_code == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", [".j2", ".css"])
def test_every_template_is_package_data(ending: str) -> None:
    read = configparser.ConfigParser()
    read.read(ROOT / "setup.cfg", encoding="utf-8")
    patterns = read["options.package_data"]["fuseport.export.page"].split()
    listed = {file for pattern in patterns for file in html.TEMPLATES.parent.glob(pattern)}
    files = set(html.TEMPLATES.rglob(f"*{ending}"))
    assert files
    assert files <= listed
    assert not files <= {file for file in listed if file.name != "page.css" and file.name != "page.html.j2"}
