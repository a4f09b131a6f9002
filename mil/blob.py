"""Reads `weights/*.bin`: Core ML's "blob storage", version 2, memory mapped.

Layout (little endian, all blocks 64-byte aligned)

    file       uint32 count, uint32 version, zeros up to byte 64
    metadata   uint32 0xDEADBEEF, uint32 element type, uint64 bytes, uint64 offset of the data, uint64 padding bits,
               zeros up to 64 bytes
    data       the elements; types narrower than a byte are packed, least significant bit first

The program refers to a tensor by the offset of its metadata and repeats its type and shape, so every field is checked
against what the program declares before a byte of data is touched.
"""

from __future__ import annotations

import mmap
import struct
from math import prod
from pathlib import Path

import numpy as np

from .dtypes import DataType, unpack_bits
from .errors import PackageError

SENTINEL = 0xDEADBEEF
VERSION = 2
HEADER_BYTES = 64
METADATA = struct.Struct("<IIQQQ")
KEPT_BYTES = 8 << 20
"""How much of a file may stay in memory after it was read, while its decoded copy is made."""

ELEMENT_TYPES: dict[int, str] = {
    1: "fp16",
    2: "fp32",
    3: "uint8",
    4: "int8",
    5: "bf16",
    6: "int16",
    7: "uint16",
    8: "int4",
    9: "uint1",
    10: "uint2",
    11: "uint4",
    12: "uint3",
    13: "uint6",
    14: "int32",
    15: "uint32",
    16: "fp8e4m3fn",
    17: "fp8e5m2",
}


class BlobFile:
    """One mapped weight file. The mapping is copy-on-write: nothing here can change the file."""

    def __init__(self, path: Path) -> None:
        """Map `path`; raises PackageError when it cannot be a blob file."""
        self.path = path
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except FileNotFoundError:
            raise PackageError(f"the program refers to a weight file that is missing: {path}") from None
        except (OSError, ValueError) as error:
            raise PackageError(f"cannot map the weight file {path}: {error}") from None
        if len(self._map) < HEADER_BYTES:
            raise PackageError(f"{path}: {len(self._map)} bytes, a weight file has a header of {HEADER_BYTES}")
        self._read_bytes = 0
        version = struct.unpack_from("<I", self._map, 4)[0]
        if version != VERSION:
            raise PackageError(f"{path}: blob storage version {version}, this reader knows version {VERSION}")

    def locate(self, offset: int, data_type: DataType, count: int) -> tuple[int, int]:
        """Where the data of the tensor at `offset` lies, as (start, bytes), after checking all that is written there.

        Raises PackageError when the metadata is outside the file, damaged, or of another type or size than declared.
        """
        where = f"{self.path}, offset {offset}"
        if offset < HEADER_BYTES or offset + HEADER_BYTES > len(self._map):
            raise PackageError(
                f"{where}: outside the file of {len(self._map)} bytes; the package is truncated or damaged"
            )
        sentinel, code, size, start, padding = METADATA.unpack_from(self._map, offset)
        if sentinel != SENTINEL:
            raise PackageError(f"{where}: expected the mark {SENTINEL:#x}, found {sentinel:#x}; the package is damaged")
        stored = ELEMENT_TYPES.get(code, f"unknown type {code}")
        if stored != data_type.name:
            raise PackageError(f"{where}: the program declares {data_type.name}, the weight file holds {stored}")
        if start < HEADER_BYTES or start + size > len(self._map):
            raise PackageError(
                f"{where}: {size} bytes at {start} run past the end of the file; the package is truncated"
            )
        if padding >= 8 or size * 8 - padding != count * data_type.bits:
            raise PackageError(f"{where}: {size} bytes stored for {count} elements of {data_type.bits} bits")
        return start, size

    def read(self, offset: int, data_type: DataType, shape: tuple[int, ...]) -> np.ndarray:
        """The tensor whose metadata lies at `offset`; a view of the mapping where the type needs no unpacking."""
        count = prod(shape)
        start, size = self.locate(offset, data_type, count)
        self._read_bytes += size
        if self._read_bytes > KEPT_BYTES:
            self.forget_pages()
        if data_type.bits < 8:
            raw = np.frombuffer(self._map, np.uint8, size, start)
            return unpack_bits(raw, data_type, count).reshape(shape)
        assert data_type.storage is not None
        return np.frombuffer(self._map, data_type.storage, count, start).reshape(shape)

    def forget_pages(self) -> None:
        """Give back the memory of pages that were read; a page that is touched again is read from the file again."""
        self._read_bytes = 0
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
