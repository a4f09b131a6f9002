"""What people have on their disk → the documents in it: a bundle, its JSON under any name, a zip, a folder of them.

An archive is read in memory, never unpacked: nothing can be written outside a target. Sizes are counted while
decompressing, because an archive's own figures are part of the untrusted input. Of a bundle `<model>-<device
nickname>.mlperf` the nickname is left out of every label, so that no message repeats it.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .document import MAX_BYTES, ReportError, check_size, clean

MAX_FILES = 50_000
MAX_UNPACKED = 512 * 2**20
HEAD = 64 * 2**10
_BUNDLE = re.compile(r"\.mlperf(?:report)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Document:
    """The bytes of one file that may be a report. `label` is what messages call it; `bundle` says where it lay."""

    data: bytes
    label: str
    bundle: bool = False


def find_documents(path: Path, holds_report: Callable[[bytes], bool]) -> Iterator[Document | ReportError]:
    """The documents of a path, and an error in the place of each that cannot be read.

    A file that is named itself comes whatever it is; out of a folder or an archive come those which `holds_report`
    recognises.
    """
    label = label_of(path.name or str(path))
    try:
        mode = path.stat().st_mode
    except OSError as error:
        yield ReportError(f"{label}: cannot be read ({error.strerror or type(error).__name__})")
        return
    if stat.S_ISDIR(mode):
        yield from _from_folder(path, label, holds_report)
    elif stat.S_ISREG(mode):
        yield from _from_file(path, label, holds_report)
    else:
        yield ReportError(f"{label}: expected a file or folder, found a pipe or device")


def label_of(name: str) -> str:
    """A path as messages show it: bundles lose what follows the model's name."""
    parts = [part for part in name.replace("\\", "/").split("/") if part]
    return "/".join(clean(_mask(part) if _BUNDLE.search(part) else part) for part in parts) or "."


def _mask(bundle: str) -> str:
    stem = _BUNDLE.sub("", bundle)
    return stem.split("-", 1)[0] + ("-…" if "-" in stem else "") + ".mlperf"


def _from_file(path: Path, label: str, holds_report: Callable[[bytes], bool]) -> Iterator[Document | ReportError]:
    try:
        with path.open("rb") as file:
            if file.read(4) == b"PK\x03\x04":
                yield from _from_zip(path, label, holds_report)
                return
            file.seek(0)
            check_size(os.fstat(file.fileno()).st_size, label)
            yield Document(file.read(MAX_BYTES + 1), label, bool(_BUNDLE.search(path.resolve().parent.name)))
    except ReportError as error:
        yield error
    except OSError as error:
        yield ReportError(f"{label}: cannot be read ({error.strerror or type(error).__name__})")


def _from_folder(folder: Path, label: str, holds_report: Callable[[bytes], bool]) -> Iterator[Document | ReportError]:
    looked = found = 0
    for root, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = Path(root) / name
            looked += 1
            if looked > MAX_FILES:
                yield ReportError(f"{label}: more than {MAX_FILES:,} files; name a folder closer to the reports")
                return
            if path.is_symlink() or not path.is_file():
                continue
            inner = label_of(f"{folder.name}/{path.relative_to(folder).as_posix()}")
            for document in _candidate(path, inner, holds_report):
                found += 1
                yield document
    if not found:
        yield ReportError(f"{label}: no performance report among its {looked} files")


def _candidate(path: Path, label: str, holds_report: Callable[[bytes], bool]) -> Iterator[Document | ReportError]:
    """A file out of a folder: an archive, a report, or nothing."""
    if path.suffix.lower() == ".zip":
        yield from _from_file(path, label, holds_report)
        return
    bundle = bool(_BUNDLE.search(path.parent.name))
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
            if not (bundle or _is_text(head)):
                return
            if os.fstat(file.fileno()).st_size > MAX_BYTES:
                if bundle or holds_report(head):
                    check_size(os.fstat(file.fileno()).st_size, label)
                return
            data = head + file.read(MAX_BYTES)
    except ReportError as error:
        yield error
        return
    except OSError as error:
        yield ReportError(f"{label}: cannot be read ({error.strerror or type(error).__name__})")
        return
    if holds_report(data) or (bundle and path.name == "report.json"):
        yield Document(data, label, bundle)


def _is_text(head: bytes) -> bool:
    return b"\0" not in head or head[:2] in (b"\xff\xfe", b"\xfe\xff")


def _from_zip(path: Path, label: str, holds_report: Callable[[bytes], bool]) -> Iterator[Document | ReportError]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield from _members(archive, label, holds_report)
    except ReportError as error:
        yield error
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, NotImplementedError) as error:
        yield ReportError(f"{label}: broken archive ({clean(str(error))[:120] or type(error).__name__})")


def _members(archive: zipfile.ZipFile, label: str, holds_report: Callable[[bytes], bool]) -> Iterator[Document]:
    members = archive.infolist()
    if len(members) > MAX_FILES:
        raise ReportError(f"{label}: {len(members):,} files in the archive, at most {MAX_FILES:,} are read")
    for member in members:
        _check_member(member, label)
    budget, found = MAX_UNPACKED, 0
    for member in members:
        if not _is_candidate(member):
            continue
        with archive.open(member) as file:
            head = file.read(HEAD)
            data = head + (file.read(min(MAX_BYTES, budget) + 1) if _is_text(head) else b"")
        budget -= len(data)
        inner = f"{label}/{label_of(member.filename)}"
        check_size(len(data), inner)
        if budget < 0:
            raise ReportError(f"{label}: unpacks to more than {MAX_UNPACKED // 2**20} MB; not an archive of reports")
        bundle = bool(_BUNDLE.search(PurePosixPath(member.filename).parent.name))
        if holds_report(data) or (bundle and PurePosixPath(member.filename).name == "report.json"):
            found += 1
            yield Document(data, inner, bundle)
    if not found:
        raise ReportError(f"{label}: no performance report among the {len(members)} files of the archive")


def _check_member(member: zipfile.ZipInfo, label: str) -> None:
    name = member.filename.replace("\\", "/")
    if not name:
        raise ReportError(f"{label}: broken archive (a file in it has no name)")
    if name.startswith("/") or ".." in name.split("/") or re.match(r"[A-Za-z]:", name):
        raise ReportError(f"{label}: a name in the archive points outside of it ({clean(name)[:80]}); refused")
    if member.flag_bits & 1:
        raise ReportError(f"{label}: the archive is encrypted; unpack it first")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ReportError(f"{label}: compression method {member.compress_type} is not read; zip it with deflate")


def _is_candidate(member: zipfile.ZipInfo) -> bool:
    """A regular file; not the resource forks that macOS adds, not an archive in the archive."""
    kind = stat.S_IFMT(member.external_attr >> 16)
    name = member.filename
    return not (
        member.is_dir()
        or kind not in (0, stat.S_IFREG)
        or name.startswith("__MACOSX/")
        or name.lower().endswith(".zip")
    )
