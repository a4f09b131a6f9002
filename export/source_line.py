"""The line of a model's code that made a node of its captured program."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from torch.fx import Node

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')


def source_line(node: Node) -> str:
    """The innermost line, as in "models/shvit.py:92", that is not PyTorch's own nor of code it made; empty for none.

    Of the path only the package, or the last folder, is given: a report travels, a home folder should not.
    """
    frames = [match.groups() for match in _FRAME.finditer(node.meta.get("stack_trace") or "")]
    own = [(file, line) for file, line in frames if not (file.startswith("<") or "/torch/" in file.replace("\\", "/"))]
    if not own:
        return ""
    file, line = own[-1]
    parts = PurePosixPath(file.replace("\\", "/")).parts
    start = parts.index("site-packages") + 1 if "site-packages" in parts else max(len(parts) - 2, 0)
    return f"{'/'.join(parts[start:])}:{line}"
