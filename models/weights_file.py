"""A file of weights, opened without trusting it.

What a file is gets decided by its first bytes, never by its name. Three formats are read: the zip archive of
`torch.save` (torch >= 1.6), the pickle stream before it, and safetensors. What people hand over by mistake (a web page,
a Git LFS pointer, an ONNX file, …) is named for what it is.

`torch.load` does not look at the checksums in its archive, and a flipped bit in a weight would pass; so they are
checked here. The other two formats carry none.
"""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch

from .safe_pickle import asks_for, callables_in, load_pickle


class CheckpointError(ValueError):
    """Weights that cannot be used. The message is one line: what was expected, what came, what to do next.

    It may quote names from an untrusted file, so control characters are replaced: no line breaks, no terminal commands.
    """

    def __init__(self, message: str) -> None:
        super().__init__("".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in message))


@dataclass(frozen=True)
class WeightsFile:
    """What a file holds: `content` is a mapping of tensors, or what was saved around one. `sha256` is the file's."""

    path: Path
    format: str
    """"torch zip", "torch legacy" or "safetensors"."""
    sha256: str
    content: object


def open_weights(path: Path) -> WeightsFile:
    """The content of a weights file, tensors on the CPU and, where the format allows it, mapped rather than read.

    Raises CheckpointError for a file that is missing, damaged, not a weights file, or a pickle that would run code.
    """
    try:
        kind = _kind(path)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return WeightsFile(path, kind, sha256, _content(path, kind))
    except (CheckpointError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    except OSError as error:
        why = error.strerror or error
        raise CheckpointError(f"{path}: cannot be read ({why}); check the path and its rights") from error


def _content(path: Path, kind: str) -> object:
    if kind == "safetensors":
        return _load_safetensors(path)
    if kind == "torch zip":
        _check_archive(path)
    return load_pickle(path, mmap=kind == "torch zip")


# ---- what the file is ----------------------------------------------------------------------------------------------

_EXPECTED = "expected a PyTorch (.pth, .pt) or .safetensors checkpoint"
_AGAIN = "download or save it again"

_ZIP = b"PK\x03\x04"
_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""The pickled magic number that opens a file of torch.save before torch 1.6."""

_MISTAKES = (  # offset, bytes found there, what the file is, what to do
    (0, b"version https://git-lfs", "a Git LFS pointer, not the weights themselves", "fetch them with `git lfs pull`"),
    (0, b"<", "a web page or XML text, probably an error page saved under this name", "download the file again"),
    (0, b"{", "JSON text", _EXPECTED),
    (0, b"\x1f\x8b", "gzip-compressed", "unpack it first"),
    (0, b"BZh", "bzip2-compressed", "unpack it first"),
    (0, b"\xfd7zXZ", "xz-compressed", "unpack it first"),
    (0, b"7z\xbc\xaf", "a 7z archive", "unpack it first"),
    (0, b"\x28\xb5\x2f\xfd", "zstd-compressed", "unpack it first"),
    (257, b"ustar", "a tar archive", "unpack it, or save the weights again with a current torch.save"),
    (0, b"\x89HDF", "an HDF5 file (Keras)", _EXPECTED),
    (0, b"\x93NUMPY", "a NumPy array", _EXPECTED),
    (4, b"TFL3", "a TensorFlow Lite model", _EXPECTED),
    (0, bytes(64), "all zeros at its start, as in an unfinished download", "download the file again"),
)


def _kind(path: Path) -> str:
    """Which of the three formats the first bytes announce. Raises CheckpointError that names everything else."""
    head = _first_bytes(path)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= 100_000_000:  # the longest header safetensors takes
        return "safetensors"
    if head.startswith((_ZIP, _LEGACY)):
        if path.suffix == ".safetensors":
            raise CheckpointError("named .safetensors, but a pickle of torch.save; rename it to .pth if you trust it")
        return "torch zip" if head.startswith(_ZIP) else "torch legacy"
    raise CheckpointError(_mistake(path, head))


def _first_bytes(path: Path) -> bytes:
    if path.is_dir():
        what = "a Core ML package, an output of this tool" if path.suffix == ".mlpackage" else "a folder"
        raise CheckpointError(f"this is {what}; {_EXPECTED}")
    if not path.exists():
        raise CheckpointError(f"no such file; {_EXPECTED}")
    if not path.is_file():
        raise CheckpointError(f"not a regular file; {_EXPECTED}")
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise CheckpointError(f"the file is empty; {_AGAIN}")
    return head


def _mistake(path: Path, head: bytes) -> str:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for offset, magic, what, to_do in _MISTAKES:
        if (text if magic in (b"<", b"{") else head[offset:]).startswith(magic):
            return f"this is {what}; {to_do}"
    if path.suffix == ".onnx" or (head[0] == 8 and head[2:3] == b"\x12"):  # ModelProto: ir_version, then producer_name
        return f"this is an ONNX model, an output of this tool; {_EXPECTED}"
    if head[0] == 0x80:  # PROTO opens every pickle
        with path.open("rb") as file:
            names = callables_in(file)
        return f"a bare pickle, not written by torch.save; {asks_for(names) + '; ' if names else ''}{_EXPECTED}"
    return f"not a weights file (it begins with {head[:8]!r}); {_EXPECTED}"


# ---- safetensors and the archive of torch.save ---------------------------------------------------------------------


def _load_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except Exception as error:  # besides its own exception, unknown number formats end in KeyError or AttributeError
        raise CheckpointError(f"damaged or cut short ({_line(error)}); {_AGAIN}") from error


def _check_archive(path: Path) -> None:
    """Raises CheckpointError unless this is an archive of torch.save, its records stored plainly and intact."""
    try:
        with zipfile.ZipFile(path) as archive:
            _check_records(archive.infolist(), path.stat().st_size)
            # torch.serialization.set_crc32_options(False) writes zeros everywhere: such a file cannot be checked
            damaged = archive.testzip() if any(record.CRC for record in archive.infolist()) else None
    except CheckpointError:
        raise
    except Exception as error:  # BadZipFile, and for damaged headers many other kinds
        size = path.stat().st_size
        raise CheckpointError(f"cut short or damaged ({_line(error)}; {size:,} bytes); {_AGAIN}") from error
    if damaged:
        raise CheckpointError(f"damaged: the checksum of its record {damaged} is wrong; {_AGAIN}")


def _check_records(records: list[zipfile.ZipInfo], size_bytes: int) -> None:
    names = {record.filename.partition("/")[2] for record in records}
    if "constants.pkl" in names:
        to_do = "save the weights alone: torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')"
        raise CheckpointError(f"this is a TorchScript archive, code and weights together; {to_do}")
    if any(record.filename.endswith((".mlmodel", "Manifest.json")) for record in records):
        raise CheckpointError(f"this is a zipped Core ML package, an output of this tool; {_EXPECTED}")
    if "data.pkl" not in names:
        raise CheckpointError(f"a zip archive, but not one of torch.save; {_EXPECTED}, not an archive with one inside")
    plain = all(record.compress_type == zipfile.ZIP_STORED for record in records)
    if not plain or sum(record.file_size for record in records) > size_bytes:
        raise CheckpointError(
            f"a zip archive that torch.save did not write (records compressed or overlapping); {_AGAIN}"
        )


def _line(error: BaseException) -> str:
    """The first line of an exception's message, short."""
    return next(iter(str(error).splitlines()), type(error).__name__)[:120].rstrip(". ")
