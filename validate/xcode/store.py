"""Reports that accumulate in one file: added once, listed, and fetched again by the beginning of their hash.

A report is keyed by the SHA-256 of the file it came from, so importing it twice makes one row. The latest join of a
report counts. The file itself is `database.py`'s.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from .codec import from_dict, to_dict
from .database import StoreError, reading, writing
from .join import Join, Match
from .placement import place
from .report import Report
from .stage import Stage, spread, statistic

MAX_BODY = 512 * 2**20


class Row(NamedTuple):
    """What a list shows of a report. Times in seconds, sizes in bytes, `ane_share` of the cost weight."""

    sha256: str
    imported_at: str
    ran_at: str | None
    format: str
    source: str
    model: str | None
    export_id: str | None
    bytes: int | None
    device: str | None
    os: str | None
    units: str | None
    predictions: int | None
    predict_median: float | None
    predict_p95: float | None
    predict_spread: float | None
    load_uncached: float | None
    load_cached: float | None
    compile: float | None
    ane_share: float | None
    switches: int | None
    variant: str | None = None
    match: str | None = None

    @property
    def subject(self) -> str:
        """What was measured: the variant of the joined export, else the model's own name."""
        return self.variant or self.model or "unknown"


@dataclass(frozen=True)
class Entry:
    """What one import adds: a report, its join if there is one, and notes."""

    report: Report
    join: Join | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stored(Entry):
    """A report out of the store."""

    imported_at: str = ""


def default_path() -> Path:
    """`$FUSEPORT_STORE`, else `fuseport/reports.sqlite` in the user's data folder."""
    if named := os.environ.get("FUSEPORT_STORE"):
        return Path(named)
    if sys.platform == "darwin":
        base = Path.home() / "Library/Application Support"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local")
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share")
    return base / "fuseport" / "reports.sqlite"


def add(path: Path, entries: Sequence[Entry]) -> list[bool]:
    """Adds all entries or none; True for each report that is new. A known report's join and notes are added to it.

    The file is made if there is none. Raises `StoreError`.
    """
    bodies = [_pack(to_dict(entry.report)) for entry in entries]
    with writing(path) as store:
        return [_add(store, entry, body) for entry, body in zip(entries, bodies, strict=True)]


def rows(path: Path, *, subject: str | None = None, device: str | None = None, limit: int | None = None) -> list[Row]:
    """The reports of the store, the newest run first. Raises `StoreError` when there is no store."""
    query = f"""
        SELECT {", ".join(f"r.{name}" for name in Row._fields[:-2])}, j.variant, j.level FROM reports r
        LEFT JOIN joins j ON j.id = (SELECT MAX(id) FROM joins WHERE sha256 = r.sha256)
        WHERE (:subject IS NULL OR COALESCE(j.variant, r.model) = :subject) AND (:device IS NULL OR r.device = :device)
        ORDER BY COALESCE(r.ran_at, r.imported_at) DESC, r.sha256 LIMIT :limit"""
    values = {"subject": subject, "device": device, "limit": -1 if limit is None else limit}
    with reading(path) as store:
        return [Row(*row) for row in store.execute(query, values)]


def get(path: Path, prefix: str) -> Stored:
    """The report whose SHA-256 begins with `prefix` (4 characters at least). Raises `StoreError` unless it is one."""
    if len(prefix) < 4 or not set(prefix.lower()) <= set("0123456789abcdef"):
        raise StoreError(
            f"{prefix[:80]!r}: expected a file, or 4 or more characters of a report's id (xcode list shows them)"
        )
    with reading(path) as store:
        found = store.execute(
            "SELECT sha256, imported_at FROM reports WHERE substr(sha256, 1, ?) = ? LIMIT 3",
            (len(prefix), prefix.lower()),
        ).fetchall()
        if len(found) != 1:
            raise StoreError(f"{prefix}: {'several reports begin' if found else 'no report begins'} with this id")
        sha256, imported_at = found[0]
        body = store.execute("SELECT body FROM bodies WHERE sha256 = ?", (sha256,)).fetchone()
        joined = store.execute("SELECT body FROM joins WHERE sha256 = ? ORDER BY id DESC", (sha256,)).fetchone()
        notes = store.execute("SELECT text FROM notes WHERE sha256 = ? ORDER BY id", (sha256,)).fetchall()
    try:
        join = _join_from(_unpack(joined[0])) if joined else None
        return Stored(from_dict(_unpack(body[0])), join, tuple(text for (text,) in notes), imported_at)
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise StoreError(f"{path.name}: the report {prefix} is damaged ({str(error)[:120]})") from None


def _add(store: sqlite3.Connection, entry: Entry, body: bytes) -> bool:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    row = summary(entry.report, now)[:-2]
    marks = ", ".join("?" * len(row))
    new = store.execute(f"INSERT INTO reports VALUES ({marks}) ON CONFLICT (sha256) DO NOTHING", row).rowcount == 1
    sha256 = entry.report.source.sha256
    if new:
        store.execute("INSERT INTO bodies VALUES (?, ?)", (sha256, body))
    if entry.join:
        joined = (
            sha256,
            now,
            entry.join.match.level,
            entry.join.variant,
            entry.join.export_id,
            _pack(asdict(entry.join)),
        )
        store.execute(
            "INSERT INTO joins (sha256, joined_at, level, variant, export_id, body) VALUES (?,?,?,?,?,?)", joined
        )
    notes = [(sha256, now, note) for note in entry.notes]
    store.executemany("INSERT INTO notes (sha256, noted_at, text) VALUES (?, ?, ?)", notes)
    return new


def summary(report: Report, imported_at: str, join: Join | None = None) -> Row:
    """The row of a report, as the store's list shows it."""
    placement = place(report)
    ane = placement.unit("ane") if placement else None
    predict = report.stages.get("predict", Stage())
    medians = {name: statistic(stage, "median") for name, stage in report.stages.items()}
    return Row(
        sha256=report.source.sha256,
        imported_at=imported_at,
        ran_at=report.ran_at,
        format=report.source.format,
        source=report.source.name,
        model=report.model.name,
        export_id=report.model.export_id,
        bytes=report.model.bytes,
        device=report.device.model,
        os=report.device.os,
        units=report.config.units,
        predictions=predict.n or None,
        predict_median=medians.get("predict"),
        predict_p95=statistic(predict, "p95"),
        predict_spread=spread(predict),
        load_uncached=medians.get("load.uncached"),
        load_cached=medians.get("load.cached"),
        compile=medians.get("compile"),
        ane_share=ane.placed_share if ane else None,
        switches=placement.switches if placement else None,
        variant=join.variant if join else None,
        match=join.match.level if join else None,
    )


def _pack(value: dict[str, Any]) -> bytes:
    return zlib.compress(json.dumps(value, separators=(",", ":")).encode(), 1)


def _unpack(body: bytes) -> Any:
    unpacker = zlib.decompressobj()
    text = unpacker.decompress(body, MAX_BODY)
    if not unpacker.eof:
        raise ValueError("its body is cut off or too large")
    return json.loads(text)


def _join_from(value: dict[str, Any]) -> Join:
    return Join(
        match=Match(value["match"]["level"], tuple(value["match"]["evidence"])),
        export_id=value["export_id"],
        variant=value["variant"],
        source=value["source"],
        modules=tuple(value["modules"]),
        found_by=tuple(value["found_by"]),
        unused=tuple(value["unused"]),
    )
