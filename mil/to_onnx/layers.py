"""Layers with weights or windows: convolution, pooling, products of matrices, normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ops.conv import kept_of_full
from ..ops.operator import Ints
from ..ops.padding import Pads, pads
from ..ops.pool import correction, windows
from .graph import CannotLower, Graph, Symbol


def _onnx_pads(amounts: Pads) -> list[int]:
    """All amounts before, then all after."""
    return [before for before, _ in amounts] + [after for _, after in amounts]


def _named(*symbols: Symbol | None) -> list[str]:
    return [s.name for s in symbols if s is not None]


def conv(
    g: Graph,
    x: Symbol,
    weight: Symbol,
    bias: Symbol | None = None,
    strides: Ints | None = None,
    pad_type: str = "valid",
    pad: Ints | None = None,
    dilations: Ints | None = None,
    groups: int = 1,
) -> str:
    ones = (1,) * (x.ndim - 2)
    strides, dilations, kernel = strides or ones, dilations or ones, weight.shape[2:]
    amounts = pads(pad_type, pad, x.shape[2:], kernel, strides, dilations)
    return g.node(
        "Conv",
        _named(x, weight, bias),
        kernel_shape=kernel,
        strides=strides,
        dilations=dilations,
        group=groups,
        pads=_onnx_pads(amounts),
    )


def conv_transpose(
    g: Graph,
    x: Symbol,
    weight: Symbol,
    bias: Symbol | None = None,
    pad: Ints | None = None,
    output_shape: Ints | None = None,
    pad_type: str = "valid",
    strides: Ints | None = None,
    dilations: Ints | None = None,
    groups: int = 1,
) -> str:
    """What the full result is cut by becomes `pads`; a result longer than full, `output_padding`."""
    ones = (1,) * (x.ndim - 2)
    strides, dilations, kernel = strides or ones, dilations or ones, weight.shape[2:]
    spatial = zip(x.shape[2:], strides, kernel, dilations, strict=True)
    full = tuple((n - 1) * s + (k - 1) * d + 1 for n, s, k, d in spatial)
    kept = kept_of_full(x.shape[2:], full, strides, pad_type, pad, output_shape)
    low = [before for before, _ in kept]
    beyond = [max(0, before + size - n) for (before, size), n in zip(kept, full, strict=True)]
    high = [n + more - before - size for (before, size), n, more in zip(kept, full, beyond, strict=True)]
    if any(more >= max(s, d) for more, s, d in zip(beyond, strides, dilations, strict=True)):
        raise CannotLower("its output is longer than ONNX can pad")
    plain = {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "group": groups}
    y = g.node("ConvTranspose", _named(x, weight), pads=low + high, output_padding=beyond, **plain)
    if bias is None:
        return y
    return g.node("Add", [y, g.node("Reshape", [bias.name, g.ints(-1, *ones)])])


def max_pool(
    g: Graph,
    x: Symbol,
    kernel_sizes: Ints,
    strides: Ints | None = None,
    pad_type: str = "valid",
    pad: Ints | None = None,
    ceil_mode: bool = False,
) -> str:
    w = windows(x.shape[2:], kernel_sizes, strides, pad_type, pad, ceil_mode)
    if any(max(amount) >= k for amount, k in zip(w.amounts, w.kernel, strict=True)):
        raise CannotLower("its padding is as wide as its window")
    return g.node("MaxPool", [x.name], kernel_shape=w.kernel, strides=w.strides, pads=_onnx_pads(w.amounts))


def avg_pool(
    g: Graph,
    x: Symbol,
    kernel_sizes: Ints,
    strides: Ints | None = None,
    pad_type: str = "valid",
    pad: Ints | None = None,
    ceil_mode: bool = False,
    exclude_padding_from_average: bool = False,
) -> str:
    """The mean with padding as zeros; where some elements of a window do not count, times a constant correction."""
    w = windows(x.shape[2:], kernel_sizes, strides, pad_type, pad, ceil_mode)
    padded = x.name
    if any(w.whole):
        padded = g.node("Pad", [x.name, g.ints(*_onnx_pads([(0, 0), (0, 0), *w.amounts]))])
    mean = g.node("AveragePool", [padded], kernel_shape=w.kernel, strides=w.strides)
    if not any(w.over) and not (exclude_padding_from_average and any(w.whole)):
        return mean
    factor = correction(w, x.shape[2:], exclude_padding_from_average)
    return g.node("Mul", [mean, g.constant(factor.numpy())])


def linear(g: Graph, x: Symbol, weight: Symbol, bias: Symbol | None = None) -> str:
    if x.ndim == 2:
        return g.node("Gemm", _named(x, weight, bias), transB=1)
    if weight.value is None:
        turned = g.node("Transpose", [weight.name], perm=[1, 0])
    else:
        turned = g.constant(weight.value.t().contiguous().numpy(), name=f"{g.prefix}/weight")
    y = g.node("MatMul", [x.name, turned])
    return y if bias is None else g.node("Add", [y, bias.name])


def _turned(g: Graph, x: Symbol, wanted: bool) -> str:
    """X with its last two axes exchanged when wanted."""
    if not wanted or x.ndim < 2:
        return x.name
    order = list(range(x.ndim))
    order[-2:] = order[-1], order[-2]
    return g.node("Transpose", [x.name], perm=order)


def matmul(g: Graph, x: Symbol, y: Symbol, transpose_x: bool = False, transpose_y: bool = False) -> str:
    return g.node("MatMul", [_turned(g, x, transpose_x), _turned(g, y, transpose_y)])


def einsum(g: Graph, values: tuple[Symbol, ...], equation: str) -> str:
    return g.node("Einsum", _named(*values), equation=equation)


def scaled_dot_product_attention(
    g: Graph, query: Symbol, key: Symbol, value: Symbol, attn_mask: Symbol | None = None
) -> str:
    scores = g.node("MatMul", [query.name, _turned(g, key, True)])
    scores = g.node("Mul", [scores, g.constant(query.shape[-1] ** -0.5)])
    if attn_mask is not None and attn_mask.dtype.name == "bool":
        scores = g.node("Where", [attn_mask.name, scores, g.constant(-np.inf)])
    elif attn_mask is not None:
        scores = g.node("Add", [scores, attn_mask.name])
    return g.node("MatMul", [g.node("Softmax", [scores], axis=-1), value.name])


def _scale_and_shift(g: Graph, gamma: Symbol | None, beta: Symbol | None, shape: list[int]) -> list[str]:
    """Names of gamma and beta, ones and zeros where they are missing; reshaped when constant."""
    names = []
    for symbol, missing in ((gamma, np.ones), (beta, np.zeros)):
        if symbol is None:
            names.append(g.constant(missing(shape, np.float32)))
        elif symbol.shape == tuple(shape):
            names.append(symbol.name)
        else:
            names.append(g.node("Reshape", [symbol.name, g.ints(*shape)]))
    return names


def batch_norm(
    g: Graph,
    x: Symbol,
    mean: Symbol,
    variance: Symbol,
    gamma: Symbol | None = None,
    beta: Symbol | None = None,
    epsilon: float = 1e-5,
) -> str:
    scale = _scale_and_shift(g, gamma, beta, [x.shape[1]])
    return g.node("BatchNormalization", [x.name, *scale, mean.name, variance.name], epsilon=epsilon)


def instance_norm(
    g: Graph, x: Symbol, gamma: Symbol | None = None, beta: Symbol | None = None, epsilon: float = 1e-5
) -> str:
    scale = _scale_and_shift(g, gamma, beta, [x.shape[1]])
    return g.node("InstanceNormalization", [x.name, *scale], epsilon=epsilon)


def layer_norm(
    g: Graph,
    x: Symbol,
    axes: Ints | None = None,
    gamma: Symbol | None = None,
    beta: Symbol | None = None,
    epsilon: float = 1e-5,
) -> str:
    """ONNX normalises over the last axes; over others the formula is written out."""
    chosen = sorted(a % x.ndim for a in (range(x.ndim) if axes is None else axes))
    if chosen == list(range(x.ndim - len(chosen), x.ndim)):
        scale = _scale_and_shift(g, gamma, beta, [x.shape[a] for a in chosen])
        return g.node("LayerNormalization", [x.name, *scale], axis=chosen[0], epsilon=epsilon)
    over = g.ints(*chosen)
    centred = g.node("Sub", [x.name, g.node("ReduceMean", [x.name, over])])
    variance = g.node("ReduceMean", [g.node("Mul", [centred, centred]), over])
    y = g.node("Div", [centred, g.node("Sqrt", [g.node("Add", [variance, g.constant(epsilon)])])])
    scale, shift = _scale_and_shift(g, gamma, beta, [x.shape[a] if a in chosen else 1 for a in range(x.ndim)])
    return g.node("Add", [g.node("Mul", [y, scale]), shift])


def l2_norm(g: Graph, x: Symbol, epsilon: float = 1e-6) -> str:
    axes = g.ints(*range(max(0, x.ndim - 3), x.ndim))
    squares = g.node("Add", [g.node("ReduceSumSquare", [x.name, axes]), g.constant(epsilon)])
    return g.node("Div", [x.name, g.node("Sqrt", [squares])])


LOWERINGS: dict[str, Any] = {
    "conv": conv,
    "conv_transpose": conv_transpose,
    "max_pool": max_pool,
    "avg_pool": avg_pool,
    "linear": linear,
    "matmul": matmul,
    "einsum": einsum,
    "scaled_dot_product_attention": scaled_dot_product_attention,
    "batch_norm": batch_norm,
    "instance_norm": instance_norm,
    "layer_norm": layer_norm,
    "l2_norm": l2_norm,
}
