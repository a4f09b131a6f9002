"""A model run a few samples at a time gives what it gives for all at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fuseport.export.proof.samples import answers
from torch import Tensor


def _run(x: Tensor, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return x * ids, torch.arange(6.0).view(3, 2), x.sum() * 0 + 7


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_groups_of_any_size(size: int) -> None:
    x, ids = torch.arange(10.0).view(5, 2), torch.arange(5).view(5, 1)
    product, table, scalar = answers(_run, (x, ids), size)
    np.testing.assert_array_equal(product, (x * ids).numpy())
    assert table.shape == ((5, 1, 3, 2) if size != 3 else (5, 2)), "what has no batch counts for each sample"
    np.testing.assert_array_equal(scalar.ravel(), np.full(5, 7.0))
