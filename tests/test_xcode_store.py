"""Reports in the store: once per file, listed newest first, and back out as they went in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fuseport.validate.xcode import store as stores
from fuseport.validate.xcode.database import StoreError, writing
from fuseport.validate.xcode.join import find_export
from fuseport.validate.xcode.manifest import read_records
from fuseport.validate.xcode.report import Report
from fuseport.validate.xcode.store import Entry, add, get, rows, summary
from xcode_samples import MAC, PHONE, export_report, read


def named(sha256: str, **parts: object) -> Report:
    report = read(PHONE.read_bytes())
    return replace(report, source=replace(report.source, sha256=sha256.ljust(64, "0")), **parts)  # type: ignore[arg-type]


def test_a_file_is_one_report(tmp_path: Path) -> None:
    path, entry = tmp_path / "s", Entry(read(PHONE.read_bytes()))
    assert add(path, [entry]) == [True]
    assert add(path, [entry, Entry(read(MAC.read_bytes()))]) == [False, True]
    assert [row.device for row in rows(path)] == ["MacBook Pro (14-inch, M4 Pro)", "iPhone 16 Pro"]


def test_out_as_it_went_in(tmp_path: Path) -> None:
    path, report = tmp_path / "s", read(PHONE.read_bytes())
    join = find_export(report, read_records([export_report(tmp_path)]))
    add(path, [Entry(report, join, ("on charger",))])
    stored = get(path, report.source.sha256[:8])
    assert (stored.report, stored.join, stored.notes) == (report, join, ("on charger",))


def test_a_join_and_notes_may_come_later_and_the_last_join_counts(tmp_path: Path) -> None:
    path, report = tmp_path / "s", read(PHONE.read_bytes())
    join = find_export(report, read_records([export_report(tmp_path)]))
    assert join is not None
    add(path, [Entry(report, None, ("one",))])
    add(path, [Entry(report, replace(join, variant="first"), ("two",))])
    add(path, [Entry(report, replace(join, variant="second"))])
    stored = get(path, report.source.sha256)
    assert stored.join is not None
    assert (stored.join.variant, stored.notes) == ("second", ("one", "two"))
    (row,) = rows(path)
    assert (row.variant, row.match, row.subject) == ("second", "exact", "second")


def test_a_row_has_the_reports_figures(tmp_path: Path) -> None:
    report = read(PHONE.read_bytes())
    add(tmp_path / "s", [Entry(report)])
    (row,) = rows(tmp_path / "s")
    assert row == summary(report, row.imported_at)
    assert (row.predictions, row.switches, row.subject) == (120, 1, "tinynet")
    assert row.predict_median == pytest.approx(0.436962e-3, abs=1e-9)
    assert row.load_uncached == pytest.approx(0.613386, abs=1e-6)
    assert row.ane_share == pytest.approx(0.944205281, abs=1e-9)


def test_filters_and_limit(tmp_path: Path) -> None:
    path = tmp_path / "s"
    other = named("b", model=replace(read(PHONE.read_bytes()).model, name="other"), ran_at="2020-01-01T00:00:00+00:00")
    add(path, [Entry(named("a")), Entry(other), Entry(read(MAC.read_bytes()))])
    assert [row.subject for row in rows(path)] == ["tinynet", "tinynet", "other"]
    assert len(rows(path, limit=1)) == 1
    assert [row.sha256[0] for row in rows(path, subject="other")] == ["b"]
    assert len(rows(path, device="iPhone 16 Pro")) == 2


@pytest.mark.parametrize(("prefix", "message"), [
    ("abc", "expected a file, or 4 or more characters"),
    ("no-file.json", "expected a file, or 4 or more characters"),
    ("../../etc", "expected a file"),
    ("aaaa", "several reports begin"),
    ("bbbb", "no report begins"),
    ("%%%%", "expected a file"),
])  # fmt: skip
def test_ids_that_are_none(tmp_path: Path, prefix: str, message: str) -> None:
    add(tmp_path / "s", [Entry(named("aaaa1")), Entry(named("aaaa2"))])
    with pytest.raises(StoreError, match=message):
        get(tmp_path / "s", prefix)
    assert get(tmp_path / "s", "AAAA1").report.source.sha256.startswith("aaaa1")


@pytest.mark.parametrize("body", [b"", b"no zlib", b"x\x9c", stores._pack([1]), stores._pack({"schema": "other"})])  # type: ignore[arg-type]
def test_a_damaged_report_is_one_line(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "s"
    add(path, [Entry(named("aaaa"))])
    with writing(path) as store:
        row = store.execute("SELECT * FROM reports").fetchone()
        store.execute(f"INSERT INTO reports VALUES ({', '.join('?' * len(row))})", ("bbbb" + row[0][4:], *row[1:]))
        store.execute("INSERT INTO bodies VALUES (?, ?)", ("bbbb" + row[0][4:], body))
    with pytest.raises(StoreError, match="the report bbbb is damaged"):
        get(path, "bbbb")


def test_a_stored_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(tmp_path / "s", [Entry(named("aaaa"))])
    monkeypatch.setattr(stores, "MAX_BODY", 1000)
    with pytest.raises(StoreError, match="cut off or too large"):
        get(tmp_path / "s", "aaaa")


@pytest.mark.parametrize(("platform", "variables", "expected"), [
    ("linux", {"FUSEPORT_STORE": "/x/y.sqlite"}, "/x/y.sqlite"),
    ("linux", {"XDG_DATA_HOME": "/data"}, "/data/fuseport/reports.sqlite"),
    ("linux", {}, "/home/me/.local/share/fuseport/reports.sqlite"),
    ("darwin", {}, "/home/me/Library/Application Support/fuseport/reports.sqlite"),
    ("win32", {"LOCALAPPDATA": "/app"}, "/app/fuseport/reports.sqlite"),
])  # fmt: skip
def test_where_the_store_lies(
    platform: str, variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FUSEPORT_STORE", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(stores.sys, "platform", platform)
    assert stores.default_path() == Path(expected)
