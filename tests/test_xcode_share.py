"""Redacted copies on the disk: names without a nickname, whole or not at all, never over another file."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
from fuseport.validate.xcode import ReportError, find_documents, holds_report
from fuseport.validate.xcode.share import write_redacted
from xcode_samples import MAC, PERSONAL, PHONE


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_file_becomes_a_file(tmp_path: Path) -> None:
    (copy,) = write_redacted(PHONE, tmp_path / "out" / "copy.json")
    assert files(tmp_path) == ["out/copy.json"]
    assert copy.changes == 4
    assert not any(word in copy.path.read_text(encoding="utf-8") for word in PERSONAL)


def test_a_bundle_becomes_a_bundle(tmp_path: Path) -> None:
    write_redacted(PHONE.parent, tmp_path / "tinynet-redacted.mlperf")
    assert files(tmp_path) == ["tinynet-redacted.mlperf/report.json"]


def test_a_folder_and_an_archive_become_folders(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copytree(PHONE.parent, folder / PHONE.parent.name)
    (folder / PHONE.parent.name / "trace.txt").write_text("Demo Phone")
    shutil.copy(MAC, folder)
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        archive.write(PHONE, "tinynet-Demo Phone.mlperf/report.json")
    write_redacted(folder, tmp_path / "out")
    write_redacted(tmp_path / "in.zip", tmp_path / "zipped")
    assert files(tmp_path / "out") == ["tinynet-redacted-1.mlperf/report.json", "tinynet-redacted-2.mlperf/report.json"]
    assert files(tmp_path / "zipped") == ["tinynet-redacted-1.mlperf/report.json"]


def test_a_models_name_cannot_leave_the_folder(tmp_path: Path) -> None:
    text = PHONE.read_text(encoding="utf-8").replace('"fileName" : "tinynet"', '"fileName" : "..\\/..\\/evil name"')
    bundle = tmp_path / "in" / "x-y.mlperf"
    bundle.mkdir(parents=True)
    (bundle / "report.json").write_text(text, encoding="utf-8")
    write_redacted(bundle, tmp_path / "out")
    assert files(tmp_path / "out") == ["evil_name-redacted-1.mlperf/report.json"]


@pytest.mark.parametrize("kind", ["exists", "repeats the nickname", "no report", "not writable", "broken member"])
def test_nothing_is_written_when_it_fails(tmp_path: Path, kind: str) -> None:
    source, target = PHONE.parent, tmp_path / "out"
    if kind == "exists":
        target.write_text("mine")
    elif kind == "repeats the nickname":
        target = tmp_path / "tinynet-demo phone-redacted.mlperf"
    elif kind == "no report":
        source = tmp_path
    elif kind == "not writable":
        (tmp_path / "file").write_text("")
        target = tmp_path / "file" / "out"
    elif kind == "broken member":
        source = tmp_path / "in"
        shutil.copytree(PHONE.parent, source / "a-b.mlperf")
        (source / "cut.json").write_bytes(PHONE.read_bytes()[:60_000])
    before = files(tmp_path)
    with pytest.raises(ReportError) as caught:
        write_redacted(source, target)
    assert "\n" not in str(caught.value)
    assert files(tmp_path) == before


def test_the_copies_are_reports(tmp_path: Path) -> None:
    write_redacted(PHONE.parent, tmp_path / "out.mlperf")
    assert len(list(find_documents(tmp_path / "out.mlperf", holds_report))) == 1
