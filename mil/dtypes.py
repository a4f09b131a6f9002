"""The element types of ML Programs: how they are stored, and which tensor carries them during execution.

`code` is the number of MIL.proto's `DataType`. Types narrower than a byte are stored packed, least significant bit
first, and carried one element per byte. Unsigned types that torch handles poorly are carried in the next wider signed
type. bfloat16 has no numpy type: it is stored as uint16.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class DataType:
    """One element type. `storage` is the numpy type of the unpacked array, None for strings."""

    code: int
    name: str
    bits: int
    storage: np.dtype | None
    carrier: torch.dtype

    @property
    def is_float(self) -> bool:
        return self.carrier.is_floating_point

    @property
    def is_signed(self) -> bool:
        return self.name.startswith(("int", "fp", "bf"))


def _row(code: int, name: str, bits: int, storage: type | None, carrier: torch.dtype) -> DataType:
    return DataType(code, name, bits, None if storage is None else np.dtype(storage), carrier)


DATA_TYPES: tuple[DataType, ...] = (
    _row(1, "bool", 8, np.bool_, torch.bool),
    _row(2, "string", 0, None, torch.uint8),
    _row(10, "fp16", 16, np.float16, torch.float32),
    _row(11, "fp32", 32, np.float32, torch.float32),
    _row(12, "fp64", 64, np.float64, torch.float64),
    _row(13, "bf16", 16, np.uint16, torch.float32),
    _row(21, "int8", 8, np.int8, torch.int8),
    _row(22, "int16", 16, np.int16, torch.int16),
    _row(23, "int32", 32, np.int32, torch.int32),
    _row(24, "int64", 64, np.int64, torch.int64),
    _row(25, "int4", 4, np.int8, torch.int8),
    _row(31, "uint8", 8, np.uint8, torch.uint8),
    _row(32, "uint16", 16, np.uint16, torch.int32),
    _row(33, "uint32", 32, np.uint32, torch.int64),
    _row(34, "uint64", 64, np.uint64, torch.int64),
    _row(35, "uint4", 4, np.uint8, torch.uint8),
    _row(36, "uint2", 2, np.uint8, torch.uint8),
    _row(37, "uint1", 1, np.uint8, torch.uint8),
    _row(38, "uint6", 6, np.uint8, torch.uint8),
    _row(39, "uint3", 3, np.uint8, torch.uint8),
)
BY_CODE: dict[int, DataType] = {row.code: row for row in DATA_TYPES}
BY_NAME: dict[str, DataType] = {row.name: row for row in DATA_TYPES}


def unpack_bits(raw: np.ndarray, data_type: DataType, count: int) -> np.ndarray:
    """`count` elements of a packed sub-byte type: element i is bits [i*b, (i+1)*b) of the little-endian bit stream.

    `raw` is a uint8 array with at least `count * bits` bits; the result has one element per byte.
    """
    bits = data_type.bits
    stream = np.unpackbits(raw, bitorder="little", count=count * bits).reshape(count, bits)
    values = (stream << np.arange(bits, dtype=np.uint8)).sum(axis=1, dtype=np.uint8)
    if not data_type.is_signed:
        return values
    wrapped = values.astype(np.int16)
    return np.where(wrapped >= 1 << (bits - 1), wrapped - (1 << bits), wrapped).astype(np.int8)
