"""A headless Chromium for tests, spoken to over its debugging pipe: no driver, no package, no port.

The protocol is one JSON message after another, each ended by a zero byte, on the browser's file descriptors 3 and 4
(https://chromedevtools.github.io/devtools-protocol/).
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE = 60.0
"""Seconds to wait for any answer; a loaded machine takes its time."""


def find_browser() -> str | None:
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One page of one browser. `requests` are the addresses it asked for, `complaints` its console's messages."""

    def __init__(self, to: int, come: int) -> None:
        self._to, self._come, self._rest, self._number = to, come, b"", 0
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._loaded = False
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session: str | None = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self._ask(f"{domain}.enable")

    _session = None

    def open(self, page: Path, *, width: int, height: int = 900, dark: bool = False) -> None:
        """Load a file in a window of `width` × `height` CSS pixels."""
        self.requests.clear()
        self.complaints.clear()
        self.resize(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", media="", features=[scheme])
        self._loaded = False
        self._ask("Page.navigate", url=page.resolve().as_uri())
        while not self._loaded:
            self._read()

    def print_out(self, *, dark: bool = False) -> None:
        """Show the page that is open as it would be printed."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", media="print", features=[scheme])

    def resize(self, width: int, height: int = 900) -> None:
        self._ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def value(self, expression: str) -> Any:
        """What a JavaScript expression says of the page; AssertionError where it fails."""
        answer = self._ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str, code: int) -> None:
        for kind in ("rawKeyDown", "keyUp"):
            self._ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def tab(self) -> None:
        self.press("Tab", 9)

    def screenshot(self, target: Path) -> None:
        """The whole page, however long, as a PNG file."""
        answer = self._ask("Page.captureScreenshot", captureBeyondViewport=True)
        target.write_bytes(base64.b64decode(answer["data"]))

    def _ask(self, method: str, **given: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": given}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def _read(self) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._come], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "the browser did not answer"
            some = os.read(self._come, 1 << 16)
            assert some, "the browser went away"
            self._rest += some
        text, _, self._rest = self._rest.partition(b"\0")
        message = json.loads(text)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, method: str | None, told: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif method == "Page.loadEventFired":
            self._loaded = True
        elif method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.complaints.append(json.dumps(told)[:500])


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A running browser with an empty profile in the folder `profile`."""
    program = find_browser()
    assert program, "no browser"
    there_r, there_w = os.pipe()
    here_r, here_w = os.pipe()
    options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")
    quiet = ("--no-first-run", "--disable-background-networking", "--disable-extensions", "--disable-sync")
    command = [program, *options, *quiet, f"--user-data-dir={profile}", "--remote-debugging-pipe"]
    wired = f'exec "$0" "$@" 3<&{there_r} 4>&{here_w}'
    process = subprocess.Popen(
        ["/bin/bash", "-c", wired, *command],
        pass_fds=(there_r, here_w),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(there_r)
    os.close(here_w)
    try:
        yield Browser(there_w, here_r)
    finally:
        os.close(there_w)
        os.close(here_r)
        process.terminate()
        process.wait(timeout=PATIENCE)
