"""Operators that coremltools 9.0 converts silently wrong, or not at all, said in operators that it converts right.

Its torch.export frontend drops arguments (`alpha=`, `approximate=`, `value=`), its passes take x // 1 for x, its
reciprocal adds 1e-4 to the divisor, its triu multiplies an infinite mask by zero, its RMS norm scales ε. An entry of
REWRITES is a plain PyTorch function with the operator's own signature, used as a decomposition: it returns
NotImplemented where that one comes through as it is. For the operators in EXPANDED torch's own decomposition serves.

The reports behind them, by number in apple/coremltools: alpha 2573, x // 1 2762, triu 2771, atan2 2769, diagonal 2565,
reciprocal 2773, integers 2733, log_softmax 2728, gelu 2863. The others were found by converting small modules and
running them against PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from .patches import PATCHES
from .reductions import REDUCTIONS

aten = torch.ops.aten


def _alias(self: Tensor) -> Any:
    return self.reshape(self.shape)


def _add(self: Tensor, other: Any, *, alpha: float = 1) -> Any:
    return NotImplemented if alpha == 1 else self + other * alpha


def _sub(self: Tensor, other: Any, *, alpha: float = 1) -> Any:
    return NotImplemented if alpha == 1 else self - other * alpha


def _rsub(self: Tensor, other: Any, alpha: float = 1) -> Any:
    return NotImplemented if alpha == 1 else other - self * alpha


def _addcmul(self: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Any:
    return self + value * tensor1 * tensor2


def _lerp(self: Tensor, end: Tensor, weight: Any) -> Any:
    return self + weight * (end - self)


def _reciprocal(self: Tensor) -> Any:
    return torch.ones([1] * max(self.ndim, 1), dtype=self.dtype).div(self).reshape(self.shape)


def _floor_divide(self: Tensor, other: Any, *, rounding_mode: str | None = "floor") -> Any:
    number = isinstance(other, int | float)
    if not number or rounding_mode != "floor":
        return NotImplemented
    if self.is_floating_point():
        return torch.floor(self) if other == 1 else NotImplemented
    return aten._to_copy.default(aten.floor_divide.Scalar(self, other), dtype=self.dtype)  # coremltools gives floats


def _clamp(self: Tensor, min: Any = None, max: Any = None) -> Any:
    """coremltools makes floats of integers that it clips."""
    if self.is_floating_point():
        return NotImplemented
    raised = self if min is None else torch.where(self < min, min, self)
    return raised if max is None else torch.where(raised > max, max, raised)


def _div(self: Tensor, other: Any) -> Any:
    """coremltools multiplies by the reciprocal; said so here, its rounding is one of the constants that are known."""
    number = isinstance(other, int | float) and other != 0 and math.isfinite(other)
    return self * (1 / other) if number and self.is_floating_point() else NotImplemented


def _atan2(self: Tensor, other: Tensor) -> Any:
    angle = torch.atan(self / torch.where(other == 0, torch.ones_like(other), other))
    turn = torch.where(self < 0, torch.full_like(self, -torch.pi), torch.full_like(self, torch.pi))
    return torch.where(other == 0, torch.sign(self) * (torch.pi / 2), torch.where(other < 0, angle + turn, angle))


def _gelu(self: Tensor, *, approximate: str = "none") -> Any:
    if approximate == "none":
        return NotImplemented
    cubic = self + 0.044715 * self * self * self
    return 0.5 * self * (1 + torch.tanh((2 / torch.pi) ** 0.5 * cubic))


def _prelu(self: Tensor, weight: Tensor) -> Any:
    """coremltools takes a slope for each channel in maps alone."""
    if weight.numel() == 1 or self.ndim == 4:
        return NotImplemented
    return torch.where(self > 0, self, self * weight.reshape(-1, *[1] * (self.ndim - 2)))


def _softplus(self: Tensor, beta: float = 1, threshold: float = 20) -> Any:
    if threshold >= 20:  # log1p(exp(-20)) is 2e-9: there the threshold makes no difference
        return NotImplemented
    scaled = self * beta
    return torch.where(scaled > threshold, self, torch.log(1 + torch.exp(torch.clamp(scaled, max=threshold))) / beta)


def _log_sigmoid(self: Tensor) -> Any:
    return -torch.nn.functional.softplus(-self)


def _log_softmax(self: Tensor, dim: int, dtype: torch.dtype | None = None) -> Any:
    values = self if dtype is None else self.to(dtype)
    shifted = values - values.amax(dim, keepdim=True)
    return shifted - torch.log(torch.exp(shifted).sum(dim, keepdim=True))


def _core_log_softmax(self: Tensor, dim: int, half_to_float: bool) -> Any:
    return _log_softmax(self, dim)


def _var_mean(self: Tensor, dim: Any = None, *, correction: float | None = None, keepdim: bool = False) -> Any:
    steps = 1 if correction is None else correction
    return torch.var(self, dim, correction=steps, keepdim=keepdim), torch.mean(self, dim, keepdim=keepdim)


def _sum(self: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Any:
    return torch.sum(self.to(torch.int32), dim, keepdim) if self.dtype is torch.bool else NotImplemented


def _group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Any:
    """One group needs no reshape to rank 5 and back; and coremltools' reshape fails where the batch is open."""
    batch, channels, *rest = input.shape
    if num_groups > 1 and isinstance(batch, int):
        return NotImplemented
    grouped = input if num_groups == 1 else input.reshape(batch, num_groups, channels // num_groups, *rest)
    dims = list(range(1 if num_groups == 1 else 2, grouped.ndim))
    centred = grouped - grouped.mean(dims, keepdim=True)
    normal = (centred / torch.sqrt(centred.square().mean(dims, keepdim=True) + eps)).reshape(input.shape)
    per_channel = [1, channels] + [1] * len(rest)
    scaled = normal if weight is None else normal * weight.reshape(per_channel)
    return scaled if bias is None else scaled + bias.reshape(per_channel)


def _rms_norm(
    input: Tensor, normalized_shape: list[int], weight: Tensor | None = None, eps: float | None = None
) -> Any:
    """coremltools divides by the largest value, against overflow in float16, but not ε: it goes wrong below 1, and for
    zeros gives NaN. Here what is below 1 is left as it is.
    """
    axes = list(range(-len(normalized_shape), 0))
    size = input.abs().amax(axes, keepdim=True).clamp(min=1.0)
    scaled, added = input / size, torch.finfo(input.dtype).eps if eps is None else eps
    normal = scaled / torch.sqrt(scaled.square().mean(axes, keepdim=True) + added / size / size)
    return normal if weight is None else normal * weight


def _extreme(reduce: Callable[..., Tensor]) -> Callable[..., Any]:
    def flat(self: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
        if dim is not None:
            return NotImplemented
        position = reduce(self.reshape(-1), 0)
        return position.reshape([1] * self.ndim) if keepdim else position

    return flat


def _triangle(upper: bool) -> Callable[..., Any]:
    def triangle(self: Tensor, diagonal: int = 0) -> Any:
        rows, columns = (torch.arange(size) for size in self.shape[-2:])
        distance = columns - rows.reshape(-1, 1)
        return torch.where(distance >= diagonal if upper else distance <= diagonal, self, torch.zeros_like(self))

    return triangle


def _diagonal(self: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    square = self.movedim((dim1, dim2), (-2, -1))
    rows, columns = square.shape[-2:]
    length = min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns)
    start = offset if offset >= 0 else -offset * columns
    return square.reshape(*square.shape[:-2], rows * columns)[..., start : start + length * (columns + 1) : columns + 1]


def _resize(operator: Any) -> Callable[..., Any]:
    """Resizing is linear, and separable: two matrix products with what `operator` itself makes of the unit matrices."""

    def along(size: int, target: int | None, scale: float | None, mode: list[Any], dtype: torch.dtype) -> Tensor:
        """The matrix (target, size) of one direction."""
        with _disable_current_modes():  # values are wanted, where a decomposition deals in shapes alone
            units = torch.eye(size, dtype=dtype).reshape(1, 1, size, size)
            columns = operator(units, target and [size, target], *mode, scale and [1.0, scale])[0, 0].tolist()
        return torch.tensor(columns, dtype=dtype).T

    def resize(self: Tensor, output_size: list[int] | None, *mode_and_scales: Any) -> Any:
        *mode, scales = mode_and_scales
        if operator in _RIGHT_BY_SIZE and all(float(scale).is_integer() for scale in scales or ()):
            return NotImplemented
        (height, width), (rows, columns), (by_row, by_column) = self.shape[-2:], output_size or _NONE, scales or _NONE
        left = along(height, rows, by_row, mode, self.dtype)
        right = along(width, columns, by_column, mode, self.dtype)
        return left @ self @ right.T

    return resize


_NONE = (None, None)
_RESIZES = (
    aten.upsample_nearest2d.vec,
    aten._upsample_nearest_exact2d.vec,
    aten.upsample_bilinear2d.vec,
    aten.upsample_bicubic2d.vec,
    aten._upsample_bilinear2d_aa.vec,
    aten._upsample_bicubic2d_aa.vec,
)
_RIGHT_BY_SIZE = (aten.upsample_nearest2d.vec, aten.upsample_bilinear2d.vec)
"""Those that coremltools has; it goes by the sizes, and a fractional scale asks for other positions."""

REWRITES: dict[Any, Callable[..., Any]] = {
    aten.alias.default: _alias,
    aten.add.Tensor: _add,
    aten.sub.Tensor: _sub,
    aten.rsub.Tensor: _rsub,
    aten.rsub.Scalar: _rsub,
    aten.addcmul.default: _addcmul,
    aten.lerp.Scalar: _lerp,
    aten.lerp.Tensor: _lerp,
    aten.reciprocal.default: _reciprocal,
    aten.floor_divide.default: _floor_divide,
    aten.div.Tensor: _div,
    aten.div.Tensor_mode: _floor_divide,
    aten.atan2.default: _atan2,
    aten.clamp.default: _clamp,
    aten.gelu.default: _gelu,
    aten.prelu.default: _prelu,
    aten.softplus.default: _softplus,
    aten.log_sigmoid.default: _log_sigmoid,
    aten.log_softmax.int: _log_softmax,
    aten._log_softmax.default: _core_log_softmax,
    aten.sum.dim_IntList: _sum,
    aten.group_norm.default: _group_norm,
    aten.rms_norm.default: _rms_norm,
    aten.var_mean.correction: _var_mean,
    aten.argmax.default: _extreme(torch.argmax),
    aten.argmin.default: _extreme(torch.argmin),
    aten.triu.default: _triangle(upper=True),
    aten.tril.default: _triangle(upper=False),
    aten.diagonal.default: _diagonal,
    **{operator: _resize(operator) for operator in _RESIZES},
    **PATCHES,
    **REDUCTIONS,
}
"""Operator → the same in others, or NotImplemented for arguments with which it is converted right."""

EXPANDED = (
    aten.addcdiv.default,
    aten.celu.default,
    aten.channel_shuffle.default,
    aten.heaviside.default,
    aten.logit.default,
    aten.rot90.default,
    aten.var_mean.dim,
)
