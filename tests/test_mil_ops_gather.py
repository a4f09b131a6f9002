"""Picking and writing elements by computed indices, against loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from fuseport.mil.ops import gather, scatter

X = torch.arange(2.0 * 3 * 4).reshape(2, 3, 4)


def same(found: torch.Tensor, expected: object) -> None:
    np.testing.assert_array_equal(found.numpy(), np.asarray(expected))


def test_gather_along_an_axis() -> None:
    indices = torch.tensor([[0, -1], [2, 1]])
    same(gather.gather(X, indices, 1), X.numpy()[:, [[0, 2], [2, 1]]])
    same(gather.gather(X, torch.tensor(1), -1), X[..., 1])
    assert gather.gather(torch.tensor([5.0, 6.0]), torch.tensor(-1)).tolist() == 6.0


def test_gather_with_paired_axes() -> None:
    indices = torch.tensor([[0, 3], [1, 1]])
    found = gather.gather(X, indices, 2, batch_dims=1)
    for b in range(2):
        same(found[b], X.numpy()[b][:, indices[b].numpy()])


def test_gather_element_by_element() -> None:
    indices = torch.tensor([[[0, -1, 1, 2]], [[2, 2, 0, 0]]])
    found = gather.gather_along_axis(X, indices, 1)
    same(found, np.take_along_axis(X.numpy(), indices.numpy() % 3, 1))


def test_gather_by_places() -> None:
    same(gather.gather_nd(X, torch.tensor([[0, 2], [1, -1]])), [X[0, 2].tolist(), X[1, 2].tolist()])
    same(gather.gather_nd(X, torch.tensor([[[1]], [[2]]]), batch_dims=1), [[X[0, 1].tolist()], [X[1, 2].tolist()]])


def test_validated_indices_must_lie_inside() -> None:
    for bad in (torch.tensor([3]), torch.tensor([-1])):
        with pytest.raises(ValueError, match=r"outside 0\.\.2"):
            gather.gather(X, bad, 1, validate_indices=True)
        with pytest.raises(ValueError, match=r"outside 0\.\.2"):
            scatter.scatter(X, bad, X[:, :1], 1, validate_indices=True)


COMBINE = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "max": max,
    "min": min,
    "update": lambda a, b: b,
}


@pytest.mark.parametrize("mode", COMBINE)
def test_scatter_by_its_definition(mode: str) -> None:
    """Repeated places meet their updates one after the other; the last update stays."""
    data, updates = X.double() + 1, torch.arange(1.0, 25.0).reshape(2, 3, 4).flip(2).double()
    indices = torch.tensor([2, 0, 2])
    expected = data.numpy().copy()
    for i, target in enumerate(indices.tolist()):
        for b, k in itertools.product(range(2), range(4)):
            expected[b, target, k] = COMBINE[mode](expected[b, target, k], float(updates[b, i, k]))
    np.testing.assert_allclose(scatter.scatter(data, indices, updates, 1, mode).numpy(), expected, rtol=1e-14)


@pytest.mark.parametrize("mode", COMBINE)
def test_scatter_element_by_element(mode: str) -> None:
    data, updates = X.double() + 1, torch.arange(1.0, 17.0).reshape(2, 2, 4).double()
    indices = torch.tensor([[[0, 1, 2, 0], [0, 1, 1, 2]]] * 2)
    expected = data.numpy().copy()
    for b, i, k in itertools.product(range(2), range(2), range(4)):
        j = int(indices[b, i, k])
        expected[b, j, k] = COMBINE[mode](expected[b, j, k], float(updates[b, i, k]))
    found = scatter.scatter_along_axis(data, indices, updates, 1, mode)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-14)


def test_scatter_by_places() -> None:
    expected = X.numpy().copy()
    expected[0, 2] += 1
    expected[1, 2] += 2
    found = scatter.scatter_nd(X, torch.tensor([[0, 2], [1, -1]]), torch.tensor([[1.0] * 4, [2.0] * 4]))
    same(found, expected)
    assert float(X[0, 2, 0]) == 8


def test_integers_divide_towards_zero() -> None:
    data = torch.tensor([7, -7])
    assert scatter.scatter(data, torch.tensor([0, 1]), torch.tensor([2, 2]), 0, "div").tolist() == [3, -3]


def test_an_index_outside_is_dropped() -> None:
    same(scatter.scatter(torch.zeros(2), torch.tensor([5, 1]), torch.ones(2)), [0, 1])


@pytest.mark.parametrize("mode", COMBINE)
def test_scattering_nothing_changes_nothing(mode: str) -> None:
    none = torch.zeros(0, 2, dtype=torch.int64)
    same(scatter.scatter_nd(X, none, torch.zeros(0, 4), mode), X)


def test_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown scatter mode 'xor'"):
        scatter.scatter(torch.zeros(2), torch.tensor([0]), torch.ones(1), 0, "xor")
