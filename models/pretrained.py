"""Published weights: fetched once into a cache folder, verified, and verified again each time they are used.

The cache mirrors the address, so that a file fetched by hand has an obvious place:
`~/.cache/fuseport/HOST/PATH/OF/THE/FILE`. Beside it lies `FILE.json` with address, length and sha256 as downloaded. A
file without that record was put there by hand, and counts when it agrees with the publisher's hash, where one is known.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from filelock import FileLock

from .transfer import Progress, Received, TransferError, transfer
from .variant import Download, Variant
from .weights_file import CheckpointError


def pretrained(
    variant: Variant, source: str | None = None, *, cache_dir: Path | None = None, progress: Progress | None = None
) -> tuple[Path, Download]:
    """The published weights of a variant on disk, and which they are.

    `source` is "official" (the authors' own) or "timm"; by default the authors' where they publish any. Nothing is
    swapped silently: a source that fails is an error, not a reason to take the other.
    Raises CheckpointError when the variant has no such weights, or they cannot be fetched.
    """
    published = {which.layout: which for which in reversed(variant.downloads)}  # the first of a layout wins
    if not published:
        raise CheckpointError(f"no weights of {variant.name} are published; pass a file with --checkpoint")
    wanted = source or ("official" if "official" in published else next(iter(published)))
    if wanted not in published:
        there = ", ".join(published)
        raise CheckpointError(f"no {wanted!r} weights of {variant.name} are published; there are: {there}")
    return download(published[wanted], cache_dir=cache_dir, progress=progress), published[wanted]


def cache_folder() -> Path:
    """Where downloads are kept: $FUSEPORT_CACHE, else `fuseport` in $XDG_CACHE_HOME or ~/.cache."""
    if own := os.environ.get("FUSEPORT_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fuseport"


def cached_path(which: Download, cache_dir: Path | None = None) -> Path:
    """Where the file of a download is kept, whether it is there yet or not."""
    parts = urlsplit(which.url)
    steps = [step for step in unquote(parts.path).split("/") if step]
    if not parts.hostname or not steps or any(step in (".", "..") or "\\" in step for step in steps):
        raise CheckpointError(f"{which.url}: not the address of a file")
    return (cache_dir or cache_folder()).joinpath(parts.hostname, *steps)


def download(which: Download, *, cache_dir: Path | None = None, progress: Progress | None = None) -> Path:
    """The file of a download, from the cache or the web; an interrupted download goes on where it stopped.

    Raises CheckpointError, with the file to fetch by hand and where to put it, when it cannot be had.
    """
    path = cached_path(which, cache_dir)
    try:
        if _is_intact(path, which):
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):  # a second run waits here, then finds the file
            if not _is_intact(path, which):
                _fetch(which, path, progress)
    except TransferError as error:
        by_hand = f"fetch it by hand and pass it with --checkpoint FILE, or save it as {path}"
        raise CheckpointError(f"{which.url}: not downloaded: {error}; {by_hand}") from error
    except OSError as error:
        to_do = "make room or rights there, or name another folder in FUSEPORT_CACHE"
        raise CheckpointError(f"{path.parent}: cannot keep downloads ({error.strerror or error}); {to_do}") from error
    return path


def _fetch(which: Download, path: Path, progress: Progress | None) -> None:
    """Bring the file to `path`, whole and verified or not at all; its record is written first."""
    part = path.with_name(path.name + ".part")
    received = transfer(which.url, part, progress=progress)
    sha256 = _sha256(part)
    for owner, stated in (("the list of variants", which.sha256), ("its server", received.stated_sha256)):
        if stated and stated != sha256:
            part.unlink()
            raise TransferError(f"the file has sha256 {sha256}, but {owner} states {stated}")
    _record_file(path).write_text(_record(which, received, sha256, part.stat().st_size), encoding="utf-8")
    part.replace(path)
    part.with_name(part.name + ".etag").unlink(missing_ok=True)


def _is_intact(path: Path, which: Download) -> bool:
    """Whether the cached file is there and is still what was downloaded.

    Raises CheckpointError for a file put there by hand that is not what is published: it is not ours to replace.
    """
    if not path.is_file():
        return False
    sha256 = _sha256(path)
    recorded = _recorded_sha256(_record_file(path))
    if recorded is None and which.sha256 not in (None, sha256):
        raise CheckpointError(f"{path}: has sha256 {sha256}, but {which.sha256} is published; delete the file")
    return sha256 == (which.sha256 or (sha256 if recorded is None else recorded))


def _record(which: Download, received: Received, sha256: str, size_bytes: int) -> str:
    return json.dumps({"url": which.url, "bytes": size_bytes, "sha256": sha256, "etag": received.etag}, indent=2) + "\n"


def _record_file(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _recorded_sha256(record: Path) -> str | None:
    """The hash in a record; None when there is no record, "" when it cannot be read."""
    if not record.exists():
        return None
    try:
        return str(json.loads(record.read_text(encoding="utf-8"))["sha256"])
    except (ValueError, KeyError, TypeError):
        return ""


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
