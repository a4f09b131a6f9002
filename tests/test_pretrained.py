"""Published weights: the cache, its records, and the errors that say what to fetch by hand."""

from __future__ import annotations

import hashlib
import json
import os
import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fuseport import models
from fuseport.models import transfer
from fuseport.models.pretrained import cache_folder, cached_path, download, pretrained
from fuseport.models.variant import Download
from fuseport.models.weights_file import CheckpointError
from loopback import Site, serve

CONTENT = random.Random(1).randbytes(100_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(transfer, "PAUSES_S", (0.0, 0.0, 0.0))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("FUSEPORT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def site() -> Iterator[Site]:
    with serve(Site(CONTENT)) as running:
        yield running


def _which(site: Site, name: str = "v1.0/weights.pth", sha256: str | None = None) -> Download:
    return Download(f"{site.address}/{name}", "official", sha256)


def test_a_download_is_kept_with_its_record(site: Site, tmp_path: Path) -> None:
    path = download(_which(site))
    assert path == tmp_path / "cache" / "127.0.0.1" / "v1.0" / "weights.pth"
    assert path.read_bytes() == CONTENT
    record = json.loads((path.parent / "weights.pth.json").read_text())
    assert record == {"url": f"{site.address}/v1.0/weights.pth", "bytes": 100_000, "sha256": SHA256, "etag": '"v1"'}
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "weights.pth",
        "weights.pth.json",
        "weights.pth.lock",
    ]
    assert download(_which(site)) == path
    assert len(site.requests) == 1, "the second use came from the cache"


def test_a_cached_file_that_changed_is_fetched_again(site: Site) -> None:
    path = download(_which(site))
    path.write_bytes(CONTENT[:-1] + b"x")
    assert download(_which(site)).read_bytes() == CONTENT
    (path.parent / "weights.pth.json").write_text("{}")
    download(_which(site))
    assert len(site.requests) == 3


def test_the_publishers_hash_must_agree(site: Site) -> None:
    assert download(_which(site, sha256=SHA256)).read_bytes() == CONTENT
    with pytest.raises(CheckpointError, match=f"sha256 {SHA256}, but the list of variants states 0000"):
        download(_which(site, "other.pth", sha256="0" * 64))
    assert not cached_path(_which(site, "other.pth")).exists()


def test_the_hash_that_the_server_states_must_agree(site: Site) -> None:
    site.redirect, site.redirect_headers = f"{site.address}/blob", {"X-Linked-Etag": f'"{"0" * 64}"'}
    with pytest.raises(CheckpointError, match="its server states 0000"):
        download(_which(site, "moved"))
    site.redirect_headers = {"X-Linked-Etag": f'"{SHA256}"'}
    assert download(_which(site, "moved")).read_bytes() == CONTENT


def test_a_file_put_there_by_hand_counts(site: Site) -> None:
    path = cached_path(_which(site))
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert download(_which(site)) == path
    assert download(_which(site, sha256=SHA256)) == path
    assert site.requests == []
    with pytest.raises(CheckpointError, match=f"{path}: has sha256 {SHA256}.*delete the file"):
        download(_which(site, sha256="0" * 64))
    assert path.read_bytes() == CONTENT


def test_what_cannot_be_fetched_names_the_file_to_fetch_by_hand(site: Site) -> None:
    site.failures = [404]
    which = _which(site)
    with pytest.raises(CheckpointError) as caught:
        download(which)
    message = str(caught.value)
    assert message.startswith(f"{which.url}: not downloaded: the server answered 404")
    assert "--checkpoint FILE" in message
    assert message.endswith(f"save it as {cached_path(which)}")
    assert "\n" not in message


def test_an_interrupted_download_leaves_no_file_and_goes_on(site: Site) -> None:
    site.cut_after, site.failures = [60_000], []
    which = _which(site)

    def fail_next(done: int, total: int | None) -> None:
        site.failures = [404]

    with pytest.raises(CheckpointError):
        download(which, progress=fail_next)
    assert not cached_path(which).exists()
    assert download(which).read_bytes() == CONTENT
    assert site.requests[-1]["Range"] == "bytes=60000-"


def test_two_runs_at_once_download_once(site: Site) -> None:
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(download(_which(site)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert found[0].read_bytes() == CONTENT
    assert len(site.requests) == 1


def test_a_cache_folder_that_cannot_be_written(site: Site, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(CheckpointError, match=r"cannot keep downloads.*FUSEPORT_CACHE"):
        download(_which(site))


@pytest.mark.parametrize(
    "url", ["https://example.org", "https://example.org/a/../../b", "https://example.org/%2e%2e/b", "x"]
)
def test_addresses_that_are_no_file(url: str) -> None:
    with pytest.raises(CheckpointError, match="not the address of a file"):
        cached_path(Download(url, "official"))


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == Path(os.environ["FUSEPORT_CACHE"])
    monkeypatch.delenv("FUSEPORT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_folder() == Path("/caches/fuseport")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "fuseport"


def test_the_authors_weights_come_first(site: Site) -> None:
    official, timm = _which(site, "official.pth"), Download(f"{site.address}/timm.safetensors", "timm")
    variant = replace(models.find("shvit_s1"), downloads=(timm, official))
    assert pretrained(variant) == (cached_path(official), official)
    assert pretrained(variant, "timm") == (cached_path(timm), timm)
    assert pretrained(replace(variant, downloads=(timm,)))[1] == timm
    with pytest.raises(CheckpointError, match="no 'official' weights of shvit_s1 are published; there are: timm"):
        pretrained(replace(variant, downloads=(timm,)), "official")
    with pytest.raises(CheckpointError, match="no weights of shvit_s1 are published"):
        pretrained(replace(variant, downloads=()))


def test_every_published_file_has_a_place_of_its_own() -> None:
    owners = [variant for variant in models.variants().values() if variant.weights_of is None]
    downloads = [which for variant in owners for which in variant.downloads]
    assert downloads
    assert len({cached_path(which) for which in downloads}) == len(downloads)
    assert all(which.url.startswith("https://") for which in downloads)
