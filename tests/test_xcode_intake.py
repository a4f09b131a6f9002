"""What people have on their disk: bundles, bare files, archives, folders; and archives that mean harm."""

from __future__ import annotations

import os
import shutil
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from fuseport.validate.xcode import Document, ReportError, document, find_documents, holds_report, intake
from xcode_samples import MAC, PHONE


def found(path: Path) -> list[Document]:
    """The documents of a path; the test fails when one of them is an error."""
    documents = list(find_documents(path, holds_report))
    assert all(isinstance(d, Document) for d in documents), documents
    return [d for d in documents if isinstance(d, Document)]


def error(path: Path) -> str:
    """The one error that a path gives, which is one line."""
    (only,) = find_documents(path, holds_report)
    assert isinstance(only, ReportError), only
    assert "\n" not in str(only)
    return str(only)


def archive(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in members.items():
            file.writestr(zipfile.ZipInfo(name) if name.startswith("/") else name, data)
    return path


def test_a_bundle() -> None:
    (only,) = found(PHONE.parent)
    assert (only.data, only.bundle) == (PHONE.read_bytes(), True)


def test_labels_leave_the_nickname_out() -> None:
    assert found(PHONE.parent)[0].label == "tinynet-….mlperf/report.json"
    assert intake.label_of("a/net-Bob-s phone.mlperfreport/report.json") == "a/net-….mlperf/report.json"
    assert intake.label_of("net.mlperf") == "net.mlperf"


def test_a_bare_report_under_any_name(tmp_path: Path) -> None:
    shutil.copy(PHONE, tmp_path / "perf data.txt")
    (only,) = found(tmp_path / "perf data.txt")
    assert (only.label, only.bundle) == ("perf data.txt", False)


def test_a_folder_of_bundles_files_and_archives(tmp_path: Path) -> None:
    shutil.copytree(PHONE.parent, tmp_path / "a-X.mlperf")
    (tmp_path / "a-X.mlperf" / "trace.bin").write_bytes(b"\0\1\2")
    shutil.copy(MAC, tmp_path / "renamed.log")
    archive(tmp_path / "b.zip", {"c-Y.mlperf/report.json": PHONE.read_bytes(), "readme.md": b"hello"})
    (tmp_path / "other.json").write_text('{"a": 1}')
    (tmp_path / "weights.bin").write_bytes(b"\0" * 1000 + b'"deviceResults"')
    assert [d.label.split("/", 1)[1] for d in found(tmp_path)] == [
        "b.zip/c-….mlperf/report.json",
        "renamed.log",
        "a-….mlperf/report.json",
    ]


def test_a_named_archive_needs_no_ending(tmp_path: Path) -> None:
    path = archive(tmp_path / "AirDrop", {"report.json": PHONE.read_bytes(), "__MACOSX/._report.json": b"\0\5\x16\7"})
    assert [d.data for d in found(path)] == [PHONE.read_bytes()]


def test_a_truncated_report_in_a_folder_is_not_overlooked(tmp_path: Path) -> None:
    (tmp_path / "cut.json").write_bytes(PHONE.read_bytes()[:80_000])
    assert found(tmp_path)[0].label.endswith("cut.json")


@pytest.mark.parametrize("kind", ["missing", "empty folder", "pipe", "folder of other files", "long name"])
def test_no_report(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "thing"
    if kind == "empty folder":
        path.mkdir()
    elif kind == "pipe":
        if not hasattr(os, "mkfifo"):
            pytest.skip("no named pipes here")
        os.mkfifo(path)
    elif kind == "folder of other files":
        path.mkdir()
        (path / "data.json").write_text('{"deviceResult": 1}')
    elif kind == "long name":
        path = tmp_path / ("x" * 3000)
    expected = {"pipe": "found a pipe", "missing": "cannot be read", "long name": "cannot be read"}
    assert expected.get(kind, "no performance report among its") in error(path)


def test_links_out_of_a_folder_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    shutil.copy(PHONE, tmp_path / "outside.json")
    (tmp_path / "folder" / "link.json").symlink_to(tmp_path / "outside.json")
    assert "no performance report" in error(tmp_path / "folder")


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    with path.open("wb") as file:
        file.truncate(2**30)  # sparse: no byte is written
    assert "1,024 MB, at most 128 MB are read" in error(path)
    bundle = tmp_path / "net-X.mlperf"
    bundle.mkdir()
    path.rename(bundle / "report.json")
    assert "at most 128 MB are read" in str(next(iter(find_documents(bundle, holds_report))))


@pytest.mark.parametrize("name", ["../../evil.json", "/etc/evil.json", "C:\\evil.json", "a/../../b.json"])
def test_archives_that_point_outside_are_refused(tmp_path: Path, name: str) -> None:
    path = archive(tmp_path / "a.zip", {"ok/report.json": PHONE.read_bytes(), name: b"{}"})
    assert "points outside of it" in error(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip"]


def test_a_bomb_stops_at_the_cap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "MAX_UNPACKED", 3 * 2**20)
    path = archive(tmp_path / "a.zip", {f"{i}.json": b"[" + b" " * 2**20 for i in range(10)})
    assert "unpacks to more than 3 MB" in error(path)
    monkeypatch.setattr(intake, "MAX_BYTES", 2**20)
    monkeypatch.setattr(document, "MAX_BYTES", 2**20)
    assert "at most 1 MB are read" in error(archive(tmp_path / "b.zip", {"x.json": b"[" + b" " * 5 * 2**20}))


def test_a_bomb_that_lies_about_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sizes in the directory say 10 bytes; the data unpacks to 20 MB."""
    monkeypatch.setattr(intake, "MAX_UNPACKED", 2**20)
    path = archive(tmp_path / "a.zip", {"x.json": b"[" + b" " * 20 * 2**20})
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        at = data.index(signature) + offset
        data[at : at + 4] = struct.pack("<I", 10)
    path.write_bytes(data)
    assert "a.zip" in error(path)


@pytest.mark.parametrize(
    "change", ["truncated", "flipped", "encrypted", "lzma", "symlink", "too many", "empty", "nested"]
)
def test_broken_and_unusual_archives(tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(
        tmp_path / "a.zip",
        {"report.json": PHONE.read_bytes()},
        zipfile.ZIP_LZMA if change == "lzma" else zipfile.ZIP_DEFLATED,
    )
    data = bytearray(path.read_bytes())
    if change == "truncated":
        path.write_bytes(data[:5000])
    elif change == "flipped":
        data[2000] ^= 0xFF
        path.write_bytes(data)
    elif change == "encrypted":
        for signature, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
            data[data.index(signature) + offset] |= 1
        path.write_bytes(data)
    elif change == "symlink":
        link = zipfile.ZipInfo("report.json")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        with zipfile.ZipFile(path, "w") as file:
            file.writestr(link, "/etc/passwd")
    elif change == "too many":
        monkeypatch.setattr(intake, "MAX_FILES", 2)
        archive(path, {f"{i}.json": b"{}" for i in range(3)})
    elif change == "empty":
        archive(path, {})
        path.write_bytes(b"PK\x03\x04" + path.read_bytes())
    elif change == "nested":
        archive(path, {"inner.zip": path.read_bytes()})
    expected = {
        "truncated": "broken archive",
        "flipped": "broken archive",
        "encrypted": "encrypted",
        "lzma": "method 14",
    }
    assert expected.get(change, "no performance report" if change != "too many" else "at most 2 are read") in error(
        path
    )


def test_a_member_without_a_name(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"x": PHONE.read_bytes()})
    data = path.read_bytes().replace(b"x" + b"PK\x05\x06", b"\0" + b"PK\x05\x06")
    path.write_bytes(data)
    assert error(path) == "a.zip: broken archive (a file in it has no name)"
