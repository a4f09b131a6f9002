"""The store's file: its tables, its version, and how it is opened, so that two imports at a time lose nothing.

Two tables hold a report: `reports` the few figures that lists and matrices show, `bodies` the whole normal form
(compressed JSON), so that going through ten thousand reports reads no body. Joins to exports and notes come later than
a report, and again, so they are rows of their own. Triggers refuse changes and deletions: the store only grows. The
version stands in `user_version`: a newer one is refused, never written to.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

VERSION = 1
APPLICATION_ID = 0x66757365  # "fuse"
WAIT_SECONDS = 60.0

_TABLES = """
CREATE TABLE reports (
    sha256 TEXT PRIMARY KEY, imported_at TEXT NOT NULL, ran_at TEXT, format TEXT NOT NULL, source TEXT NOT NULL,
    model TEXT, export_id TEXT, bytes INTEGER, device TEXT, os TEXT, units TEXT, predictions INTEGER,
    predict_median REAL, predict_p95 REAL, predict_spread REAL, load_uncached REAL, load_cached REAL, compile REAL,
    ane_share REAL, switches INTEGER);
CREATE TABLE bodies (sha256 TEXT PRIMARY KEY REFERENCES reports, body BLOB NOT NULL);
CREATE TABLE joins (
    id INTEGER PRIMARY KEY, sha256 TEXT NOT NULL REFERENCES reports, joined_at TEXT NOT NULL, level TEXT NOT NULL,
    variant TEXT, export_id TEXT, body BLOB NOT NULL);
CREATE TABLE notes (
    id INTEGER PRIMARY KEY, sha256 TEXT NOT NULL REFERENCES reports, noted_at TEXT NOT NULL, text TEXT NOT NULL);
CREATE INDEX joins_of_report ON joins (sha256);
"""
_TRIGGER = """
CREATE TRIGGER {table}_{verb} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, 'the store is append-only'); END
"""


class StoreError(ValueError):
    """A store that cannot be used. The message is one line."""


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a store that exists. Raises `StoreError`."""
    if not path.exists():
        raise StoreError(f"{path.name}: no store there yet; `fuseport xcode import` makes it")
    with _connected(path, "rw") as store:
        _check_version(store, path)
        yield store


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """A transaction that is the only writer: others wait for its end, and an error takes all of it back.

    Makes the file and its folder if there is none. Raises `StoreError`.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{path.name}: the store cannot be made ({error.strerror or error})") from None
    with _connected(path, "rwc") as store:
        store.execute("BEGIN IMMEDIATE")
        try:
            _prepare(store, path)
            yield store
        except BaseException:
            store.execute("ROLLBACK")
            raise
        store.execute("COMMIT")


@contextmanager
def _connected(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    try:
        address = f"{path.resolve().as_uri()}?mode={mode}"
        with closing(sqlite3.connect(address, uri=True, timeout=WAIT_SECONDS, isolation_level=None)) as store:
            yield store
    except sqlite3.Error as error:
        raise StoreError(f"{path.name}: the store cannot be used ({error})") from None


def _prepare(store: sqlite3.Connection, path: Path) -> None:
    """The tables, in an empty file; else the version is checked."""
    if store.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
        _check_version(store, path)
        return
    for statement in filter(str.strip, _TABLES.split(";")):
        store.execute(statement)
    for table in ("reports", "bodies", "joins", "notes"):
        for verb in ("UPDATE", "DELETE"):
            store.execute(_TRIGGER.format(table=table, verb=verb))
    store.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    store.execute(f"PRAGMA user_version = {VERSION}")


def _check_version(store: sqlite3.Connection, path: Path) -> None:
    (application,) = store.execute("PRAGMA application_id").fetchone()
    (version,) = store.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise StoreError(f"{path.name}: a database, but no store of performance reports; name another with --store")
    if version > VERSION:
        raise StoreError(f"{path.name}: a store of version {version}, this program knows {VERSION}; update fuseport")
