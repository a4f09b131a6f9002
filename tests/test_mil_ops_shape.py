"""Rearranging, slicing, reducing, making and sorting, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fuseport.mil.ops import operator, reduction, shape, slicing, tensor

X = torch.arange(2.0 * 3 * 4).reshape(2, 3, 4)


def same(found: torch.Tensor, expected: np.ndarray | torch.Tensor) -> None:
    np.testing.assert_array_equal(found.numpy(), np.asarray(expected))


def test_zero_in_a_reshape_means_the_same_place_until_ios16_and_the_same_from_the_back_later() -> None:
    before, after = operator("reshape", 6), operator("reshape", 7)
    assert before is not None
    assert after is not None
    assert before.function(X, (0, -1)).shape == (2, 12)
    assert after.function(X, (-1, 0)).shape == (6, 4)
    assert after.function(X, (0, 0, 0)).shape == (2, 3, 4)
    assert after.function(X, (0, 2, 3, 4)).shape == (1, 2, 3, 4)


def test_reshape_like_joins_parts_of_shapes() -> None:
    references = (torch.zeros(7, 6, 2), torch.zeros(4, 9))
    assert shape.reshape_like(torch.zeros(12, 4), references, (1, 0), (0, 1), (True, False)).shape == (6, 2, 4)
    found = shape.reshape_like(torch.zeros(12, 4), references, (1, 0), (3, 1), (False, False))
    assert found.shape == (6, 2, 4)


def test_axes_come_and_go() -> None:
    assert shape.expand_dims(X, (0, -1)).shape == (1, 2, 3, 4, 1)
    assert shape.expand_dims(X, (1, 2)).shape == (2, 1, 1, 3, 4)
    assert shape.squeeze(torch.zeros(1, 2, 1), (0,)).shape == (2, 1)
    assert shape.squeeze(torch.zeros(1, 2, 1)).shape == (2,)
    assert shape.flatten2d(X, 2).shape == (6, 4)
    assert shape.flatten2d(X, -3).shape == (1, 24)
    same(shape.transpose(X, (2, 0, 1)), X.numpy().transpose(2, 0, 1))
    assert shape.shape_of(X).tolist() == [2, 3, 4]


def test_joining_and_splitting() -> None:
    same(shape.concat((X, X + 100), 1), np.concatenate([X, X + 100], 1))
    same(shape.concat((torch.tensor(1.0), torch.tensor([2.0])), 0), np.array([1.0, 2.0]))
    mixed = shape.concat((X, X + 100), -1, True)
    same(mixed[..., 0::2], X)
    same(mixed[..., 1::2], X + 100)
    same(shape.stack((X, X + 100), -1), np.stack([X, X + 100], -1))
    assert [p.shape[2] for p in shape.split(X, 2, split_sizes=(1, 3))] == [1, 3]
    assert [p.shape[2] for p in shape.split(X, -1, num_splits=2)] == [2, 2]
    with pytest.raises(ValueError, match="cannot split 3 elements into 2"):
        shape.split(X, 1, num_splits=2)
    same(shape.tile(X, (1, 2, 3)), np.tile(X, (1, 2, 3)))


def test_pad() -> None:
    amounts = [(0, 0), (1, 2), (3, 0)]
    same(shape.pad(X, (1, 2, 3, 0), "constant", 7.0), np.pad(X.numpy(), amounts, "constant", constant_values=7.0))
    same(shape.pad(X, (1, 2, 3, 0), "reflect"), np.pad(X.numpy(), amounts, "reflect"))
    same(shape.pad(X, (1, 2, 3, 0), "replicate"), np.pad(X.numpy(), amounts, "edge"))


def test_unknown_pad_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown pad mode 'wrap'"):
        shape.pad(X, (1, 1), "wrap")


def test_crop_and_reverse() -> None:
    same(shape.crop(X[None], (1, 0), (1, 2)), X.numpy()[None, :, 1:, 1:2])
    same(shape.reverse(X, (0, -1)), X.numpy()[::-1, :, ::-1])
    same(shape.reverse(X), X.numpy()[::-1, ::-1, ::-1])
    found = shape.reverse_sequence(X, (3, 1), seq_axis=2, batch_axis=0)
    same(found[0], X.numpy()[0][:, [2, 1, 0, 3]])
    same(found[1], X[1])


def test_blocks_of_pixels() -> None:
    x = torch.arange(2.0 * 8 * 4 * 6).reshape(2, 8, 4, 6)
    shuffled, deep = shape.pixel_shuffle(x, 2), shape.depth_to_space(x, 2)
    for c in range(2):
        for i in range(2):
            for j in range(2):
                same(shuffled[:, c, i::2, j::2], x[:, 4 * c + 2 * i + j])
                same(deep[:, c, i::2, j::2], x[:, 4 * i + 2 * j + c])
    same(shape.pixel_unshuffle(shuffled, 2), x)
    same(shape.space_to_depth(deep, 2), x)
    blocks = shape.space_to_batch(x, (2, 3), (0, 0, 0, 0))
    assert blocks.shape == (12, 8, 2, 2)
    same(blocks[2:4], x[:, :, 0::2, 1::3])
    same(shape.batch_to_space(blocks, (2, 3), (0, 0, 0, 0)), x)
    padded = shape.space_to_batch(x, (2, 3), (1, 1, 2, 1))
    same(shape.batch_to_space(padded, (2, 3), (1, 1, 2, 1)), x)


def test_sliding_windows() -> None:
    found = shape.sliding_windows(X, 2, 3, 1)
    assert found.shape == (2, 3, 2, 3)
    same(found[:, :, 1], X[:, :, 1:4])


def test_slices_as_numpy_cuts() -> None:
    same(slicing.slice_by_index(X, (1, 0, -3), (2, 3, -1)), X[1:2, :, 1:3])
    same(slicing.slice_by_index(X, (0, 2, 3), (0, 0, 0), (1, -1, -2), (True, False, False), (True, True, True)),
         X.numpy()[:, ::-1, 3::-2])  # fmt: skip
    same(slicing.slice_by_index(X, (-1, 0, 0), (0, 3, 4), squeeze_mask=(True, False, False)), X[-1])
    same(slicing.slice_by_size(X, (-1, 1, 0), (1, -1, 2)), X[1:, 1:, :2])
    with pytest.raises(ValueError, match="index 5 is outside axis 0 of length 2"):
        slicing.slice_by_index(X, (5, 0, 0), (6, 3, 4), squeeze_mask=(True, False, False))


def test_slice_update() -> None:
    expected = X.clone()
    expected[1, :, ::2] = -1
    update, squeeze = torch.full((3, 2), -1.0), (True, False, False)
    found = slicing.slice_update(X, update, (1, 0, 0), (2, 3, 4), (1, 1, 2), squeeze_mask=squeeze)
    same(found, expected)
    assert X.min() == 0


REDUCTIONS = {
    "sum": np.sum,
    "mean": np.mean,
    "prod": np.prod,
    "max": np.max,
    "min": np.min,
    "l1_norm": lambda x, axis, keepdims: np.abs(x).sum(axis, keepdims=keepdims),
    "l2_norm": lambda x, axis, keepdims: np.sqrt((x * x).sum(axis, keepdims=keepdims)),
    "sum_square": lambda x, axis, keepdims: (x * x).sum(axis, keepdims=keepdims),
    "log_sum": lambda x, axis, keepdims: np.log(x.sum(axis, keepdims=keepdims)),
    "log_sum_exp": lambda x, axis, keepdims: np.log(np.exp(x).sum(axis, keepdims=keepdims)),
}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name: str) -> None:
    x = X.double() / 10 + 0.1
    found = operator(f"reduce_{name}", 8)
    assert found is not None
    for axes in ((0,), (1, -1), (0, 1, 2)):
        for keep in (True, False):
            expected = REDUCTIONS[name](x.numpy(), axis=axes, keepdims=keep)
            np.testing.assert_allclose(found.function(x, axes, keep).numpy(), expected, rtol=1e-13)
    everything = REDUCTIONS[name](x.numpy(), axis=None, keepdims=False)
    np.testing.assert_allclose(found.function(x).numpy(), everything, rtol=1e-13)
    assert found.function(torch.tensor(2.0)).ndim == 0


def test_integers_are_reduced_without_overflow() -> None:
    big = torch.full((4,), 2**30, dtype=torch.int32)
    assert int(reduction.reduce_sum(big)) == 2**32
    assert float(reduction.reduce_mean(big)) == 2**30


def test_the_first_of_equals_is_the_argmax() -> None:
    x = torch.tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 1.0]])
    assert reduction.reduce_argmax(x, 1).tolist() == [1, 0]
    assert reduction.reduce_argmin(x, 1, True).tolist() == [[0], [2]]


def test_making_tensors() -> None:
    assert tensor.fill((2, 1), torch.tensor(7, dtype=torch.int32)).tolist() == [[7], [7]]
    assert tensor.fill((2,)).tolist() == [0.0, 0.0]
    assert tensor.fill_like(X, torch.tensor(1.5)).shape == X.shape
    assert tensor.range_1d(5, 1, 2).tolist() == [1, 3]
    assert tensor.range_1d(1.0, 2.0, -0.5).tolist() == [2.0, 1.5]
    assert tensor.non_zero(torch.tensor([[0, 5], [6, 0]])).tolist() == [[0, 1], [1, 0]]
    with pytest.raises(ValueError, match="step 0"):
        tensor.range_1d(1, 0, 0)
    with pytest.raises(ValueError, match="has 1000000000000 elements"):
        tensor.fill((1_000_000, 1_000_000))
    with pytest.raises(ValueError, match="negative dimension"):
        tensor.fill((-1,))


def test_band_part_is_a_product() -> None:
    x = torch.arange(1.0, 13.0).reshape(3, 4)
    same(tensor.band_part(x, 0, -1), np.triu(x))
    same(tensor.band_part(x, -1, 0), np.tril(x))
    same(tensor.band_part(x, 1, 1), np.triu(np.tril(x, 1), -1))
    assert torch.isnan(tensor.band_part(torch.full((2, 2), torch.inf), 0, 0)[0, 1])


def test_cumulative_sums() -> None:
    x = torch.tensor([1.0, 2.0, 4.0])
    assert tensor.cumsum(x).tolist() == [1, 3, 7]
    assert tensor.cumsum(x, exclusive=True).tolist() == [0, 1, 3]
    assert tensor.cumsum(x, reverse=True).tolist() == [7, 6, 4]
    assert tensor.cumsum(x, exclusive=True, reverse=True).tolist() == [6, 4, 0]


def test_one_hot() -> None:
    indices = torch.tensor([2, 0])
    assert tensor.one_hot(indices, 3).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert tensor.one_hot(indices, 3, 0).shape == (3, 2)
    found = tensor.one_hot(indices, 3, -1, torch.tensor(5.0), torch.tensor(-1.0))
    assert found.tolist() == [[-1, -1, 5], [5, -1, -1]]


def test_sorting_keeps_the_order_of_equals() -> None:
    x = torch.tensor([[2.0, 3.0, 2.0, 1.0]])
    values, indices = tensor.topk(x, 3)
    assert (values.tolist(), indices.tolist()) == ([[3, 2, 2]], [[1, 0, 2]])
    values, indices = tensor.topk(x, -1, ascending=True)
    assert (values.tolist(), indices.tolist()) == ([[1, 2, 2, 3]], [[3, 0, 2, 1]])
    assert len(tensor.topk(x, 1, return_indices=False)) == 1
    assert tensor.argsort(x).tolist() == [[1, 0, 2, 3]]
    assert tensor.argsort(x, ascending=True).tolist() == [[3, 0, 2, 1]]
