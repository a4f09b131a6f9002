"""The line of a model's own code that an exception went through, as a person would look for it."""

from __future__ import annotations

import linecache
import os
import re
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path

import torch

_FRAME = re.compile(r'File "([^"]+)", line (\d+)')
_HERE = Path(__file__).parent.parent
_PASSED = (
    "<",
    f"{Path(torch.__file__).parent}{os.sep}",  # torchvision is none
    *(f"{_HERE / folder}{os.sep}" for folder in ("export", "validate", "reparam", "mil")),
)
"""Where the files begin that only pass a call on to the model."""


def culprit(error: BaseException, *, behind: str = "") -> str:
    """The innermost line of a model's code, not in the file `behind`: "net.py:12: `return x[:k]`"; "" if there is none.

    Where that line is in an installed library, the user's line that led there stands in front of it.
    """
    frames = [frame for frame in _frames(error) if frame.filename != behind]
    own = [frame for frame in frames if "site-packages" not in frame.filename]
    chosen = [*own[-1:], *(frames[-1:] if frames and frames[-1] not in own[-1:] else [])]
    return ", in ".join(map(_told, chosen))


def reason_of(error: BaseException) -> str:
    """What an exception out of a model's code says, in one line."""
    if isinstance(error, SystemExit):
        return "it ends the program (sys.exit); take that out"
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def traced(trace: str) -> str:
    """The same for the stack trace that a capture noted at a node."""
    frames = [(file, int(line)) for file, line in _FRAME.findall(trace) if not file.startswith(_PASSED)]
    if not frames:
        return ""
    file, line = frames[-1]
    return _told(traceback.FrameSummary(file, line, ""))


def _frames(error: BaseException) -> Iterator[traceback.FrameSummary]:
    """The frames of a model's files, outermost first; those of what caused an error come after its own."""
    for frame in traceback.extract_tb(error.__traceback__):
        if not frame.filename.startswith(_PASSED) and ("site-packages" in frame.filename or not _is_python(frame)):
            yield frame
    if error.__cause__ is not None:
        yield from _frames(error.__cause__)


def _is_python(frame: traceback.FrameSummary) -> bool:
    return frame.filename.startswith(sysconfig.get_path("stdlib"))


def _told(frame: traceback.FrameSummary) -> str:
    line = " ".join((frame.line or linecache.getline(frame.filename, frame.lineno or 0)).split())
    shown = f"{line[:100]}…" if len(line) > 100 else line
    return f"{short(frame.filename)}:{frame.lineno}" + (f": `{shown}`" if shown else "")


def short(file: str) -> str:
    """A path from the current folder or from the package it is in; of any other the last folder and the name."""
    path = Path(file)
    if path.is_relative_to(Path.cwd()):
        return path.relative_to(Path.cwd()).as_posix()
    parts = path.parts
    start = parts.index("site-packages") + 1 if "site-packages" in parts else max(len(parts) - 2, 0)
    return "/".join(parts[start:])
