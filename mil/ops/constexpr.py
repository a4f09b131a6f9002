"""Compressed weights (MIL: `constexpr_*`): operators on constants that are evaluated once, before the first prediction.

iOS16 to iOS17 store packed bytes and a shape; from iOS18 on the operands are typed tensors of up to 8 bits, and parts
combine: sparse, palettised (LUT), scaled by block, or sparse and one of the others ("joint").
"""

from __future__ import annotations

from math import prod

import numpy as np
import torch
from torch import Tensor

from ..dtypes import BY_NAME, unpack_bits
from .operator import Ints, Table, bounded
from .quantization import dequantize


def affine_dequantize(quantized_data: Tensor, zero_point: Tensor, scale: Tensor, axis: int) -> Tensor:
    """(quantized_data - zero_point) * scale, per tensor or per entry of `axis`."""
    return dequantize(quantized_data, scale, zero_point, axis)


def cast_constant(source_val: Tensor, output_dtype: str) -> Tensor:
    """`source_val` in the declared float type."""
    return source_val


def blockwise_shift_scale(data: Tensor, scale: Tensor, offset: Tensor | None = None) -> Tensor:
    """(data - offset) * scale; each entry of scale and offset covers a block of data of equal size."""
    values = data.to(scale.dtype)
    if offset is not None:
        values = values - _spread(offset.to(scale.dtype), data.shape)
    return values * _spread(scale, data.shape)


def _spread(blocks: Tensor, shape: torch.Size) -> Tensor:
    """One entry per block → one entry per element."""
    for axis, n in enumerate(shape):
        if blocks.shape[axis] == 0 or n % blocks.shape[axis]:
            raise ValueError(f"axis {axis} of length {n} does not divide into {blocks.shape[axis]} blocks")
        if blocks.shape[axis] not in (1, n):
            blocks = blocks.repeat_interleave(n // blocks.shape[axis], axis)
    return blocks


def lut_to_dense_packed(indices: Tensor, lut: Tensor, shape: Ints) -> Tensor:
    """iOS16: `lut` (2**bits) at the indices that `indices` (uint8) packs, least significant bit first."""
    bits = lut.numel().bit_length() - 1
    count = prod(bounded(shape))
    if lut.numel() != 1 << bits or bits not in (1, 2, 3, 4, 6, 8):
        raise ValueError(f"a table of {lut.numel()} entries; expected 2, 4, 8, 16, 64 or 256")
    if indices.numel() * 8 < count * bits:
        raise ValueError(f"{indices.numel()} bytes of indices for {count} elements of {bits} bits")
    if bits < 8:
        unpacked = unpack_bits(indices.reshape(-1).numpy(), BY_NAME[f"uint{bits}"], count)
        return lut[torch.from_numpy(unpacked).long()].reshape(shape)
    return lut[indices.reshape(-1)[:count].long()].reshape(shape)


def lut_to_dense(indices: Tensor, lut: Tensor, vector_axis: int = 0) -> Tensor:
    """iOS18: each index picks a vector of V values from the table of its block.

    `lut` is (blocks on each axis…, 2**bits, V). With V > 1 the vectors lie along `vector_axis`, which grows V times.
    """
    return _looked_up(indices, lut, vector_axis)


def _looked_up(indices: Tensor, lut: Tensor, vector_axis: int) -> Tensor:
    rank, (entries, length) = indices.ndim, lut.shape[-2:]
    if lut.ndim != rank + 2:
        raise ValueError(f"a table of rank {lut.ndim} for indices of rank {rank}, expected {rank + 2}")
    tables = lut.reshape(-1, entries, length)
    table = torch.zeros((1,) * rank, dtype=torch.int64)
    for axis in range(rank):
        blocks, n = lut.shape[axis], indices.shape[axis]
        block = torch.arange(n) // max(1, n // blocks)
        table = table * blocks + block.reshape([-1 if i == axis else 1 for i in range(rank)])
    values = tables[table.expand(indices.shape), indices.long()]
    if length == 1:
        return values.squeeze(-1)
    axis = vector_axis % rank
    return values.movedim(-1, axis + 1).flatten(axis, axis + 1)


def sparse_to_dense_packed(nonzero_data: Tensor, mask: Tensor, shape: Ints) -> Tensor:
    """iOS16: the values of `nonzero_data` where the packed bits of `mask` are set, 0 elsewhere."""
    count = prod(bounded(shape))
    if mask.numel() * 8 < count:
        raise ValueError(f"{mask.numel()} bytes of mask for {count} elements")
    bits = np.unpackbits(mask.reshape(-1).numpy(), bitorder="little", count=count).astype(bool)
    return _placed(nonzero_data, torch.from_numpy(bits).reshape(shape))


def sparse_to_dense(nonzero_data: Tensor, mask: Tensor) -> Tensor:
    """iOS18: the values of `nonzero_data` where `mask` is 1, 0 elsewhere."""
    return _placed(nonzero_data, mask != 0)


def _placed(values: Tensor, where: Tensor) -> Tensor:
    found = int(where.sum())
    if found != values.numel():
        raise ValueError(f"{values.numel()} values for a mask of {found} ones")
    dense = torch.zeros(where.shape, dtype=values.dtype)
    dense[where] = values.reshape(-1)
    return dense


def lut_to_sparse(
    indices_mask: Tensor, indices_nonzero_data: Tensor, lut: Tensor, vector_axis: int = 0
) -> list[Tensor]:
    """iOS18, joint: sparse palette indices → (mask, values where it is 1)."""
    mask = indices_mask != 0
    looked_up = _looked_up(_placed(indices_nonzero_data, mask), lut, vector_axis)
    if lut.shape[-1] > 1:
        mask = mask.repeat_interleave(lut.shape[-1], vector_axis % mask.ndim)
    return [mask.to(torch.uint8), looked_up[mask]]


def sparse_blockwise_shift_scale(
    data_mask: Tensor, nonzero_data: Tensor, scale: Tensor, offset: Tensor | None = None
) -> list[Tensor]:
    """iOS18, joint: sparse quantised values → (mask, real values where it is 1)."""
    mask = data_mask != 0
    return [mask.to(torch.uint8), blockwise_shift_scale(_placed(nonzero_data, mask), scale, offset)[mask]]


COMPUTED: Table = {
    "constexpr_affine_dequantize": affine_dequantize,
    "constexpr_blockwise_shift_scale": blockwise_shift_scale,
    "constexpr_cast": cast_constant,
    "constexpr_lut_to_dense": {6: lut_to_dense_packed, 8: lut_to_dense},
    "constexpr_lut_to_sparse": lut_to_sparse,
    "constexpr_sparse_blockwise_shift_scale": sparse_blockwise_shift_scale,
    "constexpr_sparse_to_dense": {6: sparse_to_dense_packed, 8: sparse_to_dense},
}
MOVED: Table = {}
