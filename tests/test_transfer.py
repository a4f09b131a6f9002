"""Transfers over a loopback server that fails in every way a real one does."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from fuseport.models import transfer as module
from fuseport.models.transfer import TransferError, transfer
from loopback import Site, serve

CONTENT = random.Random(0).randbytes(300_000)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr(module, "_CHUNK_BYTES", 1 << 16)
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def site() -> Iterator[Site]:
    with serve(Site(CONTENT)) as running:
        yield running


def _assert_whole(part: Path) -> None:
    assert part.read_bytes() == CONTENT


def test_a_whole_file_with_progress(site: Site, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    received = transfer(f"{site.address}/f", tmp_path / "f", progress=lambda done, total: seen.append((done, total)))
    _assert_whole(tmp_path / "f")
    assert received.etag == '"v1"'
    assert [done for done, _ in seen] == [65536, 131072, 196608, 262144, 300_000]
    assert {total for _, total in seen} == {300_000}


def test_a_cut_connection_goes_on_where_it_stopped(site: Site, tmp_path: Path) -> None:
    site.cut_after = [100_000, 50_000]
    transfer(f"{site.address}/f", tmp_path / "f")
    _assert_whole(tmp_path / "f")
    assert [r.get("Range") for r in site.requests] == [None, "bytes=100000-", "bytes=150000-"]
    assert site.requests[1]["If-Range"] == '"v1"'


def test_an_interrupted_run_goes_on_in_the_next(site: Site, tmp_path: Path) -> None:
    def interrupt(done: int, total: int | None) -> None:
        if done > 100_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        transfer(f"{site.address}/f", tmp_path / "f", progress=interrupt)
    kept = (tmp_path / "f").stat().st_size
    assert 0 < kept < len(CONTENT)
    seen: list[int] = []
    transfer(f"{site.address}/f", tmp_path / "f", progress=lambda done, total: seen.append(done))
    _assert_whole(tmp_path / "f")
    assert site.requests[-1]["Range"] == f"bytes={kept}-"
    assert seen[0] > kept


def test_a_server_without_ranges_starts_over(site: Site, tmp_path: Path) -> None:
    site.ranges, site.cut_after = False, [100_000]
    transfer(f"{site.address}/f", tmp_path / "f")
    _assert_whole(tmp_path / "f")


def test_a_server_without_validators_is_not_asked_for_ranges(site: Site, tmp_path: Path) -> None:
    site.etag, site.cut_after = None, [100_000]
    transfer(f"{site.address}/f", tmp_path / "f")
    _assert_whole(tmp_path / "f")
    assert "Range" not in site.requests[1]


def test_a_changed_file_starts_over(site: Site, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"older bytes")
    (tmp_path / "f.etag").write_text('"v0"')
    transfer(f"{site.address}/f", tmp_path / "f")
    assert site.requests[0]["If-Range"] == '"v0"'
    _assert_whole(tmp_path / "f")


def test_a_range_from_another_place_is_not_appended(site: Site, tmp_path: Path) -> None:
    site.wrong_range, site.cut_after = True, [100_000]
    transfer(f"{site.address}/f", tmp_path / "f")
    _assert_whole(tmp_path / "f")


def test_a_partial_file_that_is_complete_already(site: Site, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(CONTENT)
    (tmp_path / "f.etag").write_text('"v1"')
    transfer(f"{site.address}/f", tmp_path / "f")
    _assert_whole(tmp_path / "f")
    assert len(site.requests) == 1


def test_a_partial_file_that_is_too_long_starts_over(site: Site, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(CONTENT + b"more")
    (tmp_path / "f.etag").write_text('"v1"')
    transfer(f"{site.address}/f", tmp_path / "f")
    _assert_whole(tmp_path / "f")


def test_a_passing_failure_is_tried_again(site: Site, tmp_path: Path) -> None:
    site.failures = [500, 503]
    transfer(f"{site.address}/f", tmp_path / "f")
    _assert_whole(tmp_path / "f")


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (403, 1), (500, 4)])
def test_a_lasting_failure_is_an_error(site: Site, tmp_path: Path, status: int, requests: int) -> None:
    site.failures = [status] * 10
    with pytest.raises(TransferError, match=f"answered {status}"):
        transfer(f"{site.address}/f", tmp_path / "f")
    assert len(site.requests) == requests


def test_a_connection_that_is_always_cut_at_once_is_an_error(site: Site, tmp_path: Path) -> None:
    site.cut_after = [0] * 10
    with pytest.raises(TransferError, match="ended after 0 of 300,000 bytes"):
        transfer(f"{site.address}/f", tmp_path / "f")


def test_a_web_page_instead_of_the_file(site: Site, tmp_path: Path) -> None:
    site.content_type = "text/html; charset=utf-8"
    with pytest.raises(TransferError, match="web page"):
        transfer(f"{site.address}/f", tmp_path / "f")
    assert not (tmp_path / "f").exists()


def test_a_file_of_unknown_length(site: Site, tmp_path: Path) -> None:
    site.tells_length = False
    totals: set[int | None] = set()
    transfer(f"{site.address}/f", tmp_path / "f", progress=lambda done, total: totals.add(total))
    _assert_whole(tmp_path / "f")
    assert totals == {None}


@pytest.mark.parametrize("tells_length", [True, False])
def test_a_file_beyond_the_limit(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tells_length: bool
) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 100_000)
    site.tells_length = tells_length
    with pytest.raises(TransferError, match="more than the 100,000"):
        transfer(f"{site.address}/f", tmp_path / "f")
    assert not (tmp_path / "f").exists() or (tmp_path / "f").stat().st_size <= 100_000


def test_redirects_are_followed_and_the_hash_beside_them_is_noted(site: Site, tmp_path: Path) -> None:
    site.redirect, site.redirect_headers = f"{site.address}/elsewhere", {"X-Linked-Etag": f'"{"ab" * 32}"'}
    received = transfer(f"{site.address}/moved", tmp_path / "f")
    _assert_whole(tmp_path / "f")
    assert received.stated_sha256 == "ab" * 32


@pytest.mark.parametrize("to", ["file:///etc/hostname", "http://example.org/f", "ftp://example.org/f"])
def test_redirects_away_from_https_are_refused(site: Site, tmp_path: Path, to: str) -> None:
    """`file:` is refused by urllib itself, the others here."""
    site.redirect = to
    with pytest.raises(TransferError, match=to):
        transfer(f"{site.address}/moved", tmp_path / "f")
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize("url", ["http://example.org/f", "file:///etc/hostname", "ftp://example.org/f", "weights.pth"])
def test_only_https_is_asked(tmp_path: Path, url: str) -> None:
    with pytest.raises(TransferError, match="only https"):
        transfer(url, tmp_path / "f")


def test_no_server_there(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(TransferError, match="no connection"):
        transfer(f"http://127.0.0.1:{port}/f", tmp_path / "f")


def test_no_such_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_args: object, **_kwargs: object) -> object:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(TransferError, match="Name or service not known"):
        transfer("https://example.org/f", tmp_path / "f")
