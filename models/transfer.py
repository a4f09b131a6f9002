"""One file over HTTPS into a partial file on disk, which a later call goes on from.

A partial file is continued only when the server still has the same file: the validator it gave (a strong ETag, or else
Last-Modified) is kept beside the partial file and sent as `If-Range` (RFC 9110, sections 13.1.5 and 14.2); a server
that ignores ranges, or has another file by now, sends the whole file and we start over.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

Progress = Callable[[int, int | None], None]
"""Called with the bytes on disk and the bytes in all, None where the server does not say."""

MAX_BYTES = 8 * 2**30
TIMEOUT_S = 30.0
PAUSES_S = (1.0, 4.0, 10.0)
"""Waits before the second, third, … attempt in a row that brought nothing."""

_CHUNK_BYTES = 1 << 20
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


class TransferError(OSError):
    """A transfer that failed for good. The message is the reason alone, without the URL."""


class _TryAgainError(Exception):
    """A failure that may pass; the message is the reason."""


@dataclass(frozen=True)
class Received:
    """What the server said about a complete file."""

    etag: str | None
    stated_sha256: str | None
    """The publisher's own hash, where the server states it."""


def transfer(url: str, part: Path, *, progress: Progress | None = None) -> Received:
    """Bring the file at `url` completely to `part`, going on from what is there.

    Raises TransferError when the server refuses, is not found, or keeps failing; `part` then stays for the next call.
    Raises OSError when the disk does not take it.
    """
    if not _allowed(url, url):
        raise TransferError("only https:// is downloaded from")
    failures = 0
    while True:
        before = _size(part)
        try:
            return _attempt(url, part, progress)
        except _TryAgainError as error:
            failures = 0 if _size(part) > before else failures + 1
            if failures > len(PAUSES_S):
                raise TransferError(f"{error}, {failures} times in a row") from error
            time.sleep(PAUSES_S[max(failures - 1, 0)])


def _attempt(url: str, part: Path, progress: Progress | None) -> Received:
    offset, validator = _size(part), _read_validator(part)
    headers = {"User-Agent": "fuseport", "Accept-Encoding": "identity"}
    if offset and validator:
        headers |= {"Range": f"bytes={offset}-", "If-Range": validator}
    redirects = _Redirects(url)
    opener = urllib.request.build_opener(redirects)
    try:
        with opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S) as response:
            _receive(response, part, validator, progress)
            return Received(response.headers.get("ETag"), redirects.stated_sha256)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{offset}":
                return Received(validator, redirects.stated_sha256)  # everything was there already
            if error.code == 416:
                _discard(part)
                raise _TryAgainError("the server refused to go on from the partial file") from error
            kind = _TryAgainError if error.code in _TRANSIENT else TransferError
            raise kind(f"the server answered {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        final = isinstance(error.reason, socket.gaierror | ssl.SSLCertVerificationError | str)
        raise (TransferError if final else _TryAgainError)(f"no connection: {error.reason}") from error
    except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
        raise _TryAgainError(f"the connection broke ({error or type(error).__name__})") from error


def _receive(response: http.client.HTTPResponse, part: Path, validator: str | None, progress: Progress | None) -> None:
    """Append the body to the partial file, or replace it when the server sends the file from its start."""
    if response.headers.get_content_type() == "text/html":
        raise TransferError("the server answered with a web page instead of the file; is a login page in between?")
    offset = _size(part) if response.status == 206 else 0
    if response.status == 206 and (_range_start(response) != offset or _validator(response.headers) != validator):
        _discard(part)
        raise _TryAgainError("the server went on from another place, or with another file, than was asked")
    length = response.headers.get("Content-Length", "")
    total = offset + int(length) if length.isdecimal() else None
    if total is not None and total > MAX_BYTES:
        raise TransferError(f"the file has {total:,} bytes, more than the {MAX_BYTES:,} that are taken")
    if not offset:
        _discard(part)
        _write_validator(part, _validator(response.headers))
    with part.open("ab") as file:
        _copy(response, file, offset, total, progress)


def _copy(source: IO[bytes], target: IO[bytes], done: int, total: int | None, progress: Progress | None) -> None:
    while chunk := _read(source):
        done += len(chunk)
        if done > MAX_BYTES:
            raise TransferError(f"the file has more than the {MAX_BYTES:,} bytes that are taken")
        target.write(chunk)
        if progress:
            progress(done, total)
    if total is not None and done < total:
        raise _TryAgainError(f"the connection ended after {done:,} of {total:,} bytes")


def _read(source: IO[bytes]) -> bytes:
    try:
        return source.read(_CHUNK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise _TryAgainError(f"the connection broke ({error or type(error).__name__})") from error


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects that stay on https, and notes the hash that model hubs state beside them."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.stated_sha256: str | None = None

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if not _allowed(newurl, self.origin):
            raise TransferError(f"the server redirects to {newurl}, which is not https://")
        stated = headers.get("X-Linked-Etag", "").strip('"')  # Hugging Face: sha256 of the file behind the redirect
        if re.fullmatch("[0-9a-f]{64}", stated):
            self.stated_sha256 = stated
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _allowed(url: str, origin: str) -> bool:
    """Whether `url` is https, or http on this machine asked for from this machine."""
    return urlsplit(url).scheme == "https" or (_is_loopback(url) and _is_loopback(origin))


def _is_loopback(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")


# ---- the partial file and its validator ----------------------------------------------------------------------------


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _validator_file(part: Path) -> Path:
    return part.with_name(part.name + ".etag")


def _read_validator(part: Path) -> str | None:
    file = _validator_file(part)
    return file.read_text(encoding="utf-8") or None if file.exists() else None


def _write_validator(part: Path, validator: str | None) -> None:
    _validator_file(part).write_text(validator or "", encoding="utf-8")


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _validator_file(part).unlink(missing_ok=True)


def _validator(headers: http.client.HTTPMessage) -> str | None:
    etag = headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")


def _range_start(response: http.client.HTTPResponse) -> int | None:
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match.group(1)) if match else None
