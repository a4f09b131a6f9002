"""Reductions over all axes, with the axes written out.

coremltools 9.0 writes sum(x) as a reduction without axes, and its pass that moves transpositions past reductions fails
on one ("KeyError: 'axes'"). Entries of REDUCTIONS are decompositions, as those of `rewrites` are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


def _of_all(reduce: Callable[..., Tensor]) -> Callable[..., Any]:
    """For an operator that takes no axes; `reduce` is the one that does."""

    def reduced(self: Tensor, **named: Any) -> Any:
        return reduce(self, _axes(self), **named) if self.ndim else NotImplemented

    return reduced


def _of_some(reduce: Callable[..., Tensor]) -> Callable[..., Any]:
    """For an operator that takes axes, or none."""

    def reduced(self: Tensor, dim: Any = None, keepdim: bool = False, **named: Any) -> Any:
        if dim or dim == 0 or not self.ndim:
            return NotImplemented
        return reduce(self, _axes(self), keepdim=keepdim, **named)

    return reduced


def _norm(self: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    def norm(x: Tensor, axes: list[int], keepdim: bool) -> Tensor:
        return torch.linalg.vector_norm(x, ord, axes, keepdim, dtype=dtype)

    return _of_some(norm)(self, dim, keepdim)


def _axes(value: Tensor) -> list[int]:
    return list(range(value.ndim))


REDUCTIONS: dict[Any, Callable[..., Any]] = {
    aten.sum.default: _of_all(torch.sum),
    aten.mean.default: _of_all(torch.mean),
    aten.max.default: _of_all(torch.amax),
    aten.min.default: _of_all(torch.amin),
    aten.amax.default: _of_some(torch.amax),
    aten.amin.default: _of_some(torch.amin),
    aten.var.correction: _of_some(torch.var),
    aten.std.correction: _of_some(torch.std),
    aten.linalg_vector_norm.default: _norm,
}
