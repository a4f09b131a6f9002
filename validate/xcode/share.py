"""`redact IN OUT`: redacted copies on the disk, of one report or of a folder or archive of them.

A single JSON file becomes the file OUT. Anything else becomes a folder OUT with one bundle
`<model>-redacted.mlperf/report.json` per report (or is that bundle, when OUT ends in .mlperf). Only reports are
copied: what else lay in a bundle may be personal too. OUT must not exist; it appears when all of it is complete.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from .document import ReportError, clean
from .formats import holds_report
from .intake import Document, find_documents
from .redact import Redacted, redact


@dataclass(frozen=True)
class Shared:
    """One redacted copy: where it lies, and how many strings were replaced."""

    path: Path
    changes: int


def write_redacted(source: Path, target: Path) -> list[Shared]:
    """The redacted copies of the reports in `source`. Raises `ReportError`; `target` is then not made."""
    if target.exists():
        raise ReportError(f"{clean(target.name)}: exists already; name a file or folder that does not")
    found = list(find_documents(source, holds_report))
    for document in found:
        if isinstance(document, ReportError):
            raise document
    documents = [document for document in found if isinstance(document, Document)]
    copies = [redact(document.data, document.label) for document in documents]
    if any(copy.redactor.name(target.name) != target.name for copy in copies):
        raise ReportError("the name of the copy repeats the device's name or serial number; choose another")
    single = len(copies) == 1 and source.is_file() and "/" not in documents[0].label
    names = [""] if single else _bundle_names(copies, target)
    try:
        _write({name: copy.text for name, copy in zip(names, copies, strict=True)}, target)
    except OSError as error:
        raise ReportError(f"{clean(target.name)}: cannot be written ({error.strerror})") from None
    return [Shared(target / name, copy.changes) for name, copy in zip(names, copies, strict=True)]


def _bundle_names(copies: list[Redacted], target: Path) -> list[str]:
    """Where each copy goes below the target. Of the model's name only what cannot leave the folder is taken."""
    if len(copies) == 1 and target.suffix == ".mlperf":
        return ["report.json"]
    stems = [re.sub(r"[^\w.-]", "_", copy.model).strip("._-")[:80] or "report" for copy in copies]
    return [f"{stem}-redacted-{i}.mlperf/report.json" for i, stem in enumerate(stems, 1)]


def _write(copies: dict[str, bytes], target: Path) -> None:
    """All copies under a temporary name beside the target, then one rename."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        for name, text in copies.items():
            path = partial / name if name else partial
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)
        partial.rename(target)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        else:
            partial.unlink(missing_ok=True)
