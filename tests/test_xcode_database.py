"""The store's file: append-only, of a known version, ours; and two writers that lose nothing."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from fuseport.validate.xcode import database
from fuseport.validate.xcode.database import StoreError, reading, writing
from fuseport.validate.xcode.store import Entry, add, rows
from xcode_samples import PHONE, read

WRITER = """
import json, sys
from dataclasses import replace
from pathlib import Path
from fuseport.validate.xcode import Document, read_report
from fuseport.validate.xcode.store import Entry, add
report = read_report(Document(Path(sys.argv[1]).read_bytes(), "x"))
for i in range(40):
    add(Path(sys.argv[2]), [Entry(replace(report, source=replace(report.source, sha256=f"{sys.argv[3]}{i:063x}")))])
"""


def filled(folder: Path) -> Path:
    path = folder / "s.sqlite"
    add(path, [Entry(read(PHONE.read_bytes()))])
    return path


@pytest.mark.parametrize("table", ["reports", "bodies", "joins", "notes"])
@pytest.mark.parametrize("statement", ["DELETE FROM {}", "UPDATE {} SET sha256 = 'x'"])
def test_nothing_can_be_changed(tmp_path: Path, table: str, statement: str) -> None:
    path = filled(tmp_path)
    with closing(sqlite3.connect(path)) as store:
        store.execute("INSERT INTO notes (sha256, noted_at, text) SELECT sha256, 'now', 'n' FROM reports")
        store.execute(
            "INSERT INTO joins (sha256, joined_at, level, body) SELECT sha256, 'now', 'n', x'00' FROM reports"
        )
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            store.execute(statement.format(table))


def test_two_writers_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(PHONE), str(path), name]) for name in "ab"]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    assert len(rows(path)) == 80


def test_a_failure_takes_everything_back(tmp_path: Path) -> None:
    path = filled(tmp_path)
    before = path.read_bytes()

    def interrupted() -> None:
        with writing(path) as store:
            store.execute("INSERT INTO notes (sha256, noted_at, text) VALUES ('x', 'y', 'z')")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with reading(path) as store:
        assert store.execute("SELECT COUNT(*) FROM notes").fetchone() == (0,)
    assert path.read_bytes() == before


def test_a_newer_store_is_refused_and_unchanged(tmp_path: Path) -> None:
    path = filled(tmp_path)
    with closing(sqlite3.connect(path)) as store:
        store.execute(f"PRAGMA user_version = {database.VERSION + 1}")
    before = path.read_bytes()
    for use in (lambda: add(path, [Entry(read(PHONE.read_bytes()))]), lambda: rows(path)):
        with pytest.raises(StoreError, match="a store of version 2, this program knows 1"):
            use()
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", ["text", "another database", "folder", "truncated"])
def test_what_is_no_store(tmp_path: Path, content: str) -> None:
    path = tmp_path / "s.sqlite"
    if content == "text":
        path.write_text("no database at all, but longer than a header " * 10)
    elif content == "another database":
        with closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE mine (x)")
    elif content == "folder":
        path.mkdir()
    else:
        filled(tmp_path)
        path.write_bytes(path.read_bytes()[:5000])
    before = path.read_bytes() if path.is_file() else None
    for use in (lambda: add(path, [Entry(read(PHONE.read_bytes()))]), lambda: rows(path)):
        with pytest.raises(StoreError) as caught:
            use()
        assert "\n" not in str(caught.value)
    assert (path.read_bytes() if path.is_file() else None) == before


def test_a_missing_store_is_made_by_writing_only(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store there yet"):
        rows(tmp_path / "deep" / "s.sqlite")
    assert not (tmp_path / "deep").exists()
    add(tmp_path / "deep" / "s?#.sqlite", [])
    assert rows(tmp_path / "deep" / "s?#.sqlite") == []


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be made"):
        add(tmp_path / "file" / "s.sqlite", [])


def test_a_store_that_stays_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = filled(tmp_path)
    monkeypatch.setattr(database, "WAIT_SECONDS", 0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="database is locked"):
            add(path, [])
