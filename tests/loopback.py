"""A web server on this machine that serves one file, and misbehaves as told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Site:
    """What is served at every path but /to/…, and what was asked. `failures` are answered first, one a request."""

    content: bytes
    etag: str | None = '"v1"'
    ranges: bool = True
    failures: list[int] = field(default_factory=list)
    cut_after: list[int] = field(default_factory=list)
    """Bytes of the body after which the connection is closed, one a request."""
    tells_length: bool = True
    content_type: str = "application/octet-stream"
    redirect: str | None = None
    """Where the path /moved leads to."""
    redirect_headers: dict[str, str] = field(default_factory=dict)
    wrong_range: bool = False
    """Answer a range with other bytes than were asked for."""
    requests: list[dict[str, str]] = field(default_factory=list)
    address: str = ""


@contextmanager
def serve(site: Site) -> Iterator[Site]:
    """The site, up and running at `site.address`."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None: ...

        def do_GET(self) -> None:
            _answer(site, self)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    site.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(site: Site, request: BaseHTTPRequestHandler) -> None:
    site.requests.append({"path": request.path, **dict(request.headers)})
    if request.path == "/moved":
        _head(request, 302, {"Location": site.redirect or "", "Content-Length": "0", **site.redirect_headers})
        return
    if site.failures:
        _head(request, site.failures.pop(0), {"Content-Length": "0"})
        return
    body, headers, status = site.content, {"Content-Type": site.content_type}, 200
    if site.etag:
        headers["ETag"] = site.etag
    start = _asked_start(site, request)
    if start is not None and start >= len(body):
        _head(request, 416, {"Content-Range": f"bytes */{len(body)}", "Content-Length": "0"})
        return
    if start is not None:
        start += site.wrong_range
        headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        body, status = body[start:], 206
    if site.tells_length:
        headers["Content-Length"] = str(len(body))
    _head(request, status, headers)
    request.wfile.write(body[: site.cut_after.pop(0)] if site.cut_after else body)


def _asked_start(site: Site, request: BaseHTTPRequestHandler) -> int | None:
    """The first byte of a range that is to be honoured."""
    asked = request.headers.get("Range")
    if not site.ranges or asked is None or request.headers.get("If-Range") != site.etag:
        return None
    return int(asked.removeprefix("bytes=").removesuffix("-"))


def _head(request: BaseHTTPRequestHandler, status: int, headers: dict[str, str]) -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.end_headers()
