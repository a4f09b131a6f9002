"""Compressed weights and quantisation, by their definitions on small tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from fuseport import mil
from fuseport.mil.dtypes import BY_NAME, unpack_bits
from fuseport.mil.ops import constexpr, quantization
from mil_build import Program, Ref


def packed(values: np.ndarray, bits: int) -> bytes:
    """Unsigned values of `bits` bits each, least significant first."""
    stream = ((values.reshape(-1, 1) >> np.arange(bits)) & 1).astype(np.uint8)
    return np.packbits(stream, bitorder="little").tobytes()


@pytest.mark.parametrize("name", ["uint1", "uint2", "uint3", "uint4", "uint6", "int4"])
def test_narrow_types_unpack(name: str) -> None:
    bits = BY_NAME[name].bits
    values = np.random.default_rng(0).integers(0, 1 << bits, 37)
    found = unpack_bits(np.frombuffer(packed(values, bits), np.uint8), BY_NAME[name], 37)
    expected = np.where(values >= 8, values - 16, values) if name == "int4" else values
    np.testing.assert_array_equal(found, expected)


def test_quantize_and_back() -> None:
    x = torch.tensor([[-1.0, 0.26], [1.3, 99.0]])
    scale, zero = torch.tensor([0.5, 0.1]), torch.tensor([1, -2], dtype=torch.int8)
    stored = quantization.quantize(x, scale, "int8", zero, 0)
    assert stored.tolist() == [[-1, 2], [11, 127]]
    assert stored.dtype == torch.int8
    torch.testing.assert_close(
        quantization.dequantize(stored, scale, zero, 0), torch.tensor([[-1.0, 0.5], [1.3, 12.9]])
    )
    assert quantization.quantize(x, torch.tensor(0.5), "uint8").tolist() == [[0, 1], [3, 198]]
    columns = quantization.dequantize(stored, scale, axis=-1)
    torch.testing.assert_close(columns, torch.tensor([[-0.5, 0.2], [5.5, 12.7]]))


def test_blocks_share_a_scale() -> None:
    data = torch.arange(8, dtype=torch.int8).reshape(2, 4)
    scale, offset = torch.tensor([[1.0, 10.0]]), torch.tensor([[1, 2]], dtype=torch.int8)
    found = constexpr.blockwise_shift_scale(data, scale, offset)
    assert found.tolist() == [[-1, 0, 0, 10], [3, 4, 40, 50]]
    with pytest.raises(ValueError, match="axis 1 of length 4 does not divide into 3 blocks"):
        constexpr.blockwise_shift_scale(data, torch.ones(1, 3))


def test_palette_of_ios16_is_packed() -> None:
    lut, indices = torch.arange(8.0) * 10, np.array([7, 0, 3, 3, 5, 1])
    raw = torch.tensor(list(packed(indices, 3)), dtype=torch.uint8)
    assert constexpr.lut_to_dense_packed(raw, lut, (2, 3)).tolist() == [[70, 0, 30], [30, 50, 10]]
    with pytest.raises(ValueError, match="a table of 5 entries"):
        constexpr.lut_to_dense_packed(raw, lut[:5], (2, 3))
    with pytest.raises(ValueError, match="3 bytes of indices for 100 elements"):
        constexpr.lut_to_dense_packed(raw, lut, (100,))


def test_palettes_by_block() -> None:
    """Rows 0 and 1 use the first table, rows 2 and 3 the second."""
    indices = torch.tensor([[0, 1], [1, 0], [0, 1], [1, 0]], dtype=torch.uint8)
    lut = torch.tensor([[1.0, 2.0], [10.0, 20.0]]).reshape(2, 1, 2, 1)
    assert constexpr.lut_to_dense(indices, lut).tolist() == [[1, 2], [2, 1], [10, 20], [20, 10]]


def test_vector_palettes_grow_an_axis() -> None:
    indices = torch.tensor([[0, 1]], dtype=torch.uint8)
    lut = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 1, 2, 2)
    assert constexpr.lut_to_dense(indices, lut, 0).tolist() == [[1, 3], [2, 4]]
    assert constexpr.lut_to_dense(indices, lut, 1).tolist() == [[1, 2, 3, 4]]
    with pytest.raises(ValueError, match="a table of rank 2 for indices of rank 2, expected 4"):
        constexpr.lut_to_dense(indices, lut[0, 0])


def test_sparse_weights() -> None:
    values, mask = torch.tensor([5.0, 6.0]), torch.tensor([[0, 1, 0], [1, 0, 0]], dtype=torch.uint8)
    expected = [[0, 5, 0], [6, 0, 0]]
    assert constexpr.sparse_to_dense(values, mask).tolist() == expected
    bits = torch.tensor(list(packed(mask.numpy(), 1)), dtype=torch.uint8)
    assert constexpr.sparse_to_dense_packed(values, bits, (2, 3)).tolist() == expected
    with pytest.raises(ValueError, match="2 values for a mask of 3 ones"):
        constexpr.sparse_to_dense(values, torch.ones(3))


def test_joint_forms_are_sparse_parts_of_the_others() -> None:
    mask = torch.tensor([[0, 1, 0], [1, 0, 1]], dtype=torch.uint8)
    lut = torch.tensor([1.0, 2.0]).reshape(1, 1, 2, 1)
    found_mask, values = constexpr.lut_to_sparse(mask, torch.tensor([0, 1, 0], dtype=torch.uint8), lut)
    assert constexpr.sparse_to_dense(values, found_mask).tolist() == [[0, 1, 0], [2, 0, 1]]
    pairs = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 1, 2, 2)
    found_mask, values = constexpr.lut_to_sparse(mask, torch.tensor([0, 1, 0], dtype=torch.uint8), pairs, 1)
    assert constexpr.sparse_to_dense(values, found_mask)[0].tolist() == [0, 0, 1, 2, 0, 0]
    data = torch.tensor([2, 4, 6], dtype=torch.int8)
    found_mask, values = constexpr.sparse_blockwise_shift_scale(mask, data, torch.tensor([[10.0], [100.0]]))
    assert constexpr.sparse_to_dense(values, found_mask).tolist() == [[0, 20, 0], [400, 0, 600]]


def test_a_chain_of_compressed_weights_in_a_file(tmp_path: Path) -> None:
    """int4 indices in the weight file → palette, sparse; constants may feed constants, in both modes."""
    program = Program(8)
    program.input("x", (1, 6), "fp32")
    indices = np.array([3, 0, 1, 2], np.uint8)
    operation = program.block.operations.add(type="const")
    raw = packed(indices, 2)
    program.set_blob(operation.attributes["val"], indices, "uint2", raw)
    operation.outputs.add(name="indices").type.CopyFrom(operation.attributes["val"].type)
    mask_bits = np.array([[1, 0, 1], [0, 1, 1]], np.uint8)
    stored = program.block.operations.add(type="const")
    program.set_blob(stored.attributes["val"], mask_bits, "uint1", packed(mask_bits, 1))
    stored.outputs.add(name="mask").type.CopyFrom(stored.attributes["val"].type)
    lut = program.const(np.array([1.0, 2.0, 3.0, 4.0], np.float32).reshape(1, 1, 4, 1))
    program.op(
        "constexpr_lut_to_sparse",
        [("kept", (2, 3), "uint1"), ("values", (4,), "fp32")],
        indices_mask=Ref("mask"),
        indices_nonzero_data=Ref("indices"),
        lut=Ref(lut),
    )
    program.op("constexpr_sparse_to_dense", ("w", (2, 3), "fp32"), nonzero_data=Ref("values"), mask=Ref("kept"))
    program.op("reshape", ("r", (1, 6), "fp32"), x=Ref("w"), shape=[1, 6])
    program.op("mul", ("y", (1, 6), "fp32"), x=Ref("x"), y=Ref("r"))
    program.output("y")
    model = mil.load(program.save(tmp_path / "m.mlpackage"))
    for mode in mil.MODES:
        assert model.predict({"x": np.ones((1, 6))}, mode=mode)["y"].tolist() == [[4, 0, 1, 0, 2, 3]]
