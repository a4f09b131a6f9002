"""Convolution, pooling, products and normalisation, against loops over windows and PyTorch."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from fuseport.mil.ops import conv, linear, normalization, pool
from fuseport.mil.ops.padding import pads


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("valid", [(0, 0)]), ("same", [(1, 2)]), ("same_lower", [(2, 1)]), ("custom", [(3, 4)])],
)
def test_padding(kind: str, expected: list[tuple[int, int]]) -> None:
    """8 elements, kernel 3 dilated to 5, stride 2: 4 windows need 11 elements."""
    assert pads(kind, (3, 4), (8,), (3,), (2,), (2,)) == expected


def test_unknown_padding_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown pad_type 'full'; known: valid"):
        pads("full", None, (8,), (3,), (1,), (1,))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convolution_with_uneven_padding(rank: int) -> None:
    x, weight, bias = random(2, 4, *(7,) * rank), random(6, 2, *(3,) * rank), random(6)
    pad = (1, 2) * rank
    found = conv.conv(x, weight, bias, (2,) * rank, "custom", pad, (1,) * rank, 2)
    expected = (F.conv1d, F.conv2d, F.conv3d)[rank - 1](F.pad(x, pad), weight, bias, 2, 0, 1, 2)
    close(found, expected)


def test_convolution_by_its_definition() -> None:
    x, weight = random(1, 1, 5), random(1, 1, 2)
    expected = [sum(float(weight[0, 0, k] * x[0, 0, i + 2 * k]) for k in range(2)) for i in range(3)]
    close(conv.conv(x, weight, dilations=(2,)), torch.tensor([[expected]], dtype=torch.float64))


@pytest.mark.parametrize("pad", [(0, 0, 0, 0), (1, 1, 1, 1), (1, 0, 0, 2)])
def test_transposed_convolution_is_cut_by_its_padding(pad: tuple[int, ...]) -> None:
    x, weight, bias = random(1, 4, 5, 6), random(4, 3, 3, 2), random(3)
    full = F.conv_transpose2d(x, weight, bias, 2)
    expected = full[:, :, pad[0] : full.shape[2] - pad[1], pad[2] : full.shape[3] - pad[3]]
    close(conv.conv_transpose(x, weight, bias, pad, None, "custom", (2, 2)), expected)


def test_transposed_convolution_to_a_given_size() -> None:
    """Elements beyond the full result are zero plus the bias, as PyTorch's output_padding gives them."""
    x, weight, bias = random(1, 4, 5, 6), random(4, 3, 3, 3), random(3)
    expected = F.conv_transpose2d(x, weight, bias, 3, 0, 2)
    close(conv.conv_transpose(x, weight, bias, (0,) * 4, tuple(expected.shape), "custom", (3, 3)), expected)


def test_transposed_convolution_of_same_size() -> None:
    x, weight = random(1, 4, 5, 6), random(4, 3, 3, 2)
    found = conv.conv_transpose(x, weight, pad_type="same", strides=(2, 2))
    full = F.conv_transpose2d(x, weight, None, 2)
    close(found, full[:, :, :10, :12])
    assert full.shape[2:] == (11, 12)


def windows_of(n: int, k: int, s: int, pad: tuple[int, int], ceil_mode: bool) -> list[range]:
    """Indices of each window, padding and overhang included; windows that start after the data are dropped."""
    count = (n + sum(pad) - k) / s + 1
    whole = math.ceil(count) if ceil_mode else math.floor(count)
    starts = [i * s - pad[0] for i in range(whole)]
    return [range(a, a + k) for a in starts if a < n or not sum(pad)]


@pytest.mark.parametrize(("exclude", "ceil_mode"), list(itertools.product([True, False], repeat=2)))
def test_average_by_its_definition(exclude: bool, ceil_mode: bool) -> None:
    x, pad = random(1, 1, 8), (1, 2)
    expected = []
    for window in windows_of(8, 4, 3, pad, ceil_mode):
        data = [float(x[0, 0, i]) for i in window if 0 <= i < 8]
        counted = [i for i in window if (0 <= i < 8 if exclude else -pad[0] <= i < 8 + pad[1])]
        expected.append(sum(data) / len(counted))
    found = pool.avg_pool(x, (4,), (3,), "custom", pad, ceil_mode, exclude)
    close(found, torch.tensor([[expected]], dtype=torch.float64))


@pytest.mark.parametrize("ceil_mode", [True, False])
def test_maximum_and_l2_by_their_definitions(ceil_mode: bool) -> None:
    x, pad = random(1, 1, 8) - 5, (1, 2)
    found = windows_of(8, 4, 3, pad, ceil_mode)
    data = [[float(x[0, 0, i]) for i in window if 0 <= i < 8] for window in found]
    expected = torch.tensor([[[max(d) for d in data]]], dtype=torch.float64)
    close(pool.max_pool(x, (4,), (3,), "custom", pad, ceil_mode), expected)
    expected = torch.tensor([[[math.sqrt(sum(v * v for v in d)) for d in data]]], dtype=torch.float64)
    close(pool.l2_pool(x, (4,), (3,), "custom", pad, ceil_mode), expected)


def test_pools_of_each_rank() -> None:
    for rank, (most, mean) in enumerate(
        ((F.max_pool1d, F.avg_pool1d), (F.max_pool2d, F.avg_pool2d), (F.max_pool3d, F.avg_pool3d)), 1
    ):
        x, kernel, strides = random(2, 3, *(7,) * rank), (3,) * rank, (2,) * rank
        close(pool.max_pool(x, kernel, strides), most(x, 3, 2))
        close(pool.avg_pool(x, kernel, strides), mean(x, 3, 2))


def test_linear_and_matmul() -> None:
    x, weight, bias = random(2, 5, 4), random(3, 4), random(3)
    close(linear.linear(x, weight, bias), x @ weight.T + bias)
    y = random(2, 6, 5)
    close(linear.matmul(x, y, True, True), x.transpose(1, 2) @ y.transpose(1, 2))
    close(linear.matmul(x, random(4)), x @ random(4))
    whole = torch.ones(2, 4, dtype=torch.int32)
    close(linear.linear(whole, weight), torch.ones(2, 4).double() @ weight.T)
    close(linear.linear(whole, whole, torch.tensor([0.5, 1.5]).double()), torch.tensor([[4.5, 5.5]] * 2).double())


def test_attention() -> None:
    q, k, v = random(1, 2, 5, 8), random(1, 2, 6, 8, seed=1), random(1, 2, 6, 8, seed=2)
    attention = linear.scaled_dot_product_attention
    close(attention(q, k, v), F.scaled_dot_product_attention(q, k, v))
    keep = torch.ones(5, 6, dtype=torch.bool).tril()
    close(attention(q, k, v, keep), F.scaled_dot_product_attention(q, k, v, keep))
    bias = random(5, 6)
    close(attention(q, k, v, bias), F.scaled_dot_product_attention(q, k, v, bias))


def test_batch_norm() -> None:
    x, mean, variance, gamma, beta = random(2, 3, 4), random(3), random(3) ** 2, random(3, seed=1), random(3, seed=2)
    shape = (1, 3, 1)
    plain = (x - mean.reshape(shape)) / (variance.reshape(shape) + 0.1).sqrt()
    close(normalization.batch_norm(x, mean, variance, epsilon=0.1), plain)
    expected = plain * gamma.reshape(shape) + beta.reshape(shape)
    close(normalization.batch_norm(x, mean, variance, gamma, beta, 0.1), expected)


def test_instance_and_layer_norm() -> None:
    x, gamma, beta = random(2, 3, 4, 5), random(3), random(3, seed=1)
    close(normalization.instance_norm(x, gamma, beta, 0.1), F.instance_norm(x, None, None, gamma, beta, eps=0.1))
    one = random(2, 3, 1)
    close(normalization.instance_norm(one, epsilon=0.1), torch.zeros_like(one))
    last = random(4, 5)
    close(normalization.layer_norm(x, (-1, 2), last, last, 0.1), F.layer_norm(x, (4, 5), last, last, 0.1))
    moved = F.layer_norm(x.movedim(1, -1), (3,), gamma, beta, 0.1).movedim(-1, 1)
    close(normalization.layer_norm(x, (1,), gamma, beta, 0.1), moved)
    close(normalization.layer_norm(x, epsilon=0.1), F.layer_norm(x, (2, 3, 4, 5), eps=0.1))


def test_l2_and_local_response_norm() -> None:
    x = random(2, 6, 4, 5)
    for i in range(2):
        close(normalization.l2_norm(x, 0.1)[i], x[i] / ((x[i] ** 2).sum() + 0.1).sqrt())
    for size in (3, 4):
        found = normalization.local_response_norm(x, size, 0.5, 0.75, 2.0)
        close(found, F.local_response_norm(x, size, 0.5, 0.75, 2.0))
