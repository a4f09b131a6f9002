"""Opens a saved Core ML model: the folder or file on disk, checked, as a program that can be executed.

An `.mlpackage` is a folder: `Manifest.json` names the root model, a `Model` protobuf message whose large constants lie
in `weights/*.bin` beside it. A bare `.mlmodel` is the message alone. Everything that the files say about other files is
checked before it is followed: nothing outside the package is ever opened.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from .blob import BlobFile
from .decode import decode_function, function_names
from .errors import MilError, PackageError
from .program import Function
from .schema import NEWEST_SPECIFICATION, model_message

MAX_MANIFEST_BYTES = 1 << 20
MAX_MODEL_BYTES = (1 << 31) - 1
"""Protobuf's own limit for one message."""


@dataclass(frozen=True)
class Package:
    """A saved ML Program: where it lies, what it says of its inputs and outputs, and its functions.

    `description` is the `ModelDescription` message; `features.py` reads it.
    """

    path: Path
    specification_version: int
    description: Any
    functions: Mapping[str, Function]
    blobs: tuple[BlobFile, ...]


def open_package(path: str | Path) -> Package:
    """Read the package at `path`. Weights are mapped, not decoded.

    Raises PackageError in one line when the file is missing, damaged, newer than known, or no ML Program.
    """
    root = Path(path)
    model_file = _model_file(root)
    message = _parse(model_file)
    _refuse_other_kinds(message, model_file)
    blobs = _Blobs(model_file, root if root.is_dir() else root.parent)
    found = message.mlProgram.functions
    if not found:
        raise PackageError(f"{model_file}: the program has no function")
    functions = {name: decode_function(name, found[name], blobs.open) for name in function_names(found)}
    return Package(root, message.specificationVersion, message.description, functions, tuple(blobs.opened.values()))


def _model_file(root: Path) -> Path:
    """The protobuf file of a package folder, or `root` itself when it is a file."""
    if root.is_file():
        return root
    if not root.is_dir():
        raise PackageError(f"expected a .mlpackage folder or a .mlmodel file, found nothing at {root}")
    manifest = root / "Manifest.json"
    try:
        size = manifest.stat().st_size
        if size > MAX_MANIFEST_BYTES:
            raise PackageError(f"{manifest}: {size} bytes, a manifest has a few hundred")
        content = json.loads(manifest.read_bytes())
        entry = content["itemInfoEntries"][content["rootModelIdentifier"]]["path"]
    except FileNotFoundError:
        raise PackageError(f"{root} is a folder without Manifest.json; expected a .mlpackage") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, MilError):
            raise
        raise PackageError(f"{manifest} does not name a root model ({type(error).__name__}: {error})") from None
    found = _inside(root / "Data", entry, root, "the manifest")
    if found.is_dir():
        raise PackageError(f"the root model {entry!r} is a folder; expected a model file such as model.mlmodel")
    return found


def _inside(base: Path, entry: object, root: Path, speaker: str) -> Path:
    """`base/entry`, refused when it leaves `root` by its spelling or through a link."""
    if not isinstance(entry, str) or not entry or "\0" in entry or "\\" in entry:
        raise PackageError(f"{speaker} names a file by {str(entry)[:80]!r}, expected a relative path")
    spelled = PurePosixPath(entry)
    try:
        target = (base / spelled).resolve()
        missing = not target.exists()
    except OSError as error:
        raise PackageError(f"{speaker} names a file by {entry[:80]!r}: {error.strerror}") from None
    if spelled.is_absolute() or ".." in spelled.parts or not target.is_relative_to(root.resolve()):
        raise PackageError(f"{speaker} points outside the package: {entry[:80]!r}")
    if missing:
        raise PackageError(f"{speaker} refers to {entry[:80]!r}, which is missing from {root}")
    return target


def _parse(file: Path) -> Any:
    """The `Model` message of `file`."""
    from google.protobuf.message import DecodeError

    message = model_message()
    try:
        if file.stat().st_size > MAX_MODEL_BYTES:
            raise PackageError(f"{file}: larger than a protobuf message can be; is this a model file?")
        message.ParseFromString(file.read_bytes())
    except OSError as error:
        raise PackageError(f"cannot read {file}: {error}") from None
    except (DecodeError, ValueError) as error:
        if isinstance(error, MilError):
            raise
        raise PackageError(f"{file} is not a Core ML model, or it is damaged ({error})") from None
    return message


def _refuse_other_kinds(message: Any, file: Path) -> None:
    kind = message.WhichOneof("Type")
    if message.specificationVersion > NEWEST_SPECIFICATION:
        raise PackageError(
            f"{file}: specification version {message.specificationVersion}, this reader knows up to "
            f"{NEWEST_SPECIFICATION} (iOS 26); convert for an older deployment target"
        )
    if kind is None:
        raise PackageError(f"{file} holds no model; is it a Core ML file?")
    if kind.startswith("pipeline"):
        raise PackageError(f"{file} is a pipeline of several models; save and check each ML Program by itself")
    if kind != "mlProgram":
        raise PackageError(
            f"{file} is a {kind!r} model; only ML Programs are executed: convert with convert_to='mlprogram'"
        )


class _Blobs:
    """Opens each weight file of a package once."""

    def __init__(self, model_file: Path, root: Path) -> None:
        self._folder, self._root = model_file.parent, root
        self.opened: dict[str, BlobFile] = {}

    def open(self, name: str) -> BlobFile:
        if name not in self.opened:
            entry = name.removeprefix("@model_path/")
            self.opened[name] = BlobFile(_inside(self._folder, entry, self._root, "the program"))
        return self.opened[name]
