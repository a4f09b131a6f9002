"""Weights for a model without a checkpoint, under which every tensor matters to the output.

A fresh network is blind: training code starts norm weights of residual branches at 0 and layer scales at 1e-5, so whole
branches add nothing, and a comparison of outputs would prove nothing about their weights. Here every tensor gets
ordinary values instead, as a trained network has them.

1. *Drawn.* Each tensor is a function of the seed, its state-dict key and its shape alone: u in [0, 1) comes from the
   raw stream of PCG64 seeded with the CRC-32 of `SEED:KEY`, which NumPy keeps stable; z = √3 (2u − 1) has variance 1.
2. *Calibrated.* Batch norms need statistics that fit what reaches them, or the activations of a deep network vanish or
   explode. A pass over four drawn pictures sets them (`calibrated.py`).
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .calibrated import calibrate_
from .inputs import Input

PICTURES = 4
SIZE = 224
"""Pixels per side of the pictures that calibrate, where the caller does not give a shape."""


def fill_conditioned_(
    module: nn.Module,
    seed: int = 0,
    *,
    picture: tuple[int, int, int] | None = None,
    inputs: Sequence[Input] = (),
    batch: int = PICTURES,
) -> None:
    """Overwrite every parameter and running statistic of a freshly initialised float32 `module`, in place.

    The initial values are read: what starts as a constant is a scale or an offset, and gets values of that kind.
    `inputs` are what the module takes, `batch` samples at a time; instead of them `picture` says the (channels, height,
    width) of a single one, by default the channels of the first convolution at 224×224. They are used only where there
    are batch norms. Raises ValueError if the module does not take them.
    """
    takes = tuple(inputs) or (Input("picture", picture or _guess(module)),)
    with torch.no_grad():
        places = Counter(id(part) for _, part in module.named_modules(remove_duplicate=False))
        for key, owner, leaf, tensor in _tensors(module):
            value = _drawn(key, owner, leaf, tensor, seed, places[id(owner)])
            if value is not None:
                tensor.copy_(torch.as_tensor(value))
        norms = tuple(name for name, norm in module.named_modules() if getattr(norm, "running_var", None) is not None)
        if norms:
            others = tuple(replace(one, name=f"other.{one.name}") for one in takes)
            calibrate_(module, norms, takes, drawn(takes, batch, seed), partial(drawn, others, batch, seed))


def _guess(module: nn.Module) -> tuple[int, int, int]:
    channels = next((m.in_channels for m in module.modules() if isinstance(m, nn.Conv2d)), 3)
    return channels, SIZE, SIZE


def drawn(inputs: Sequence[Input], count: int, seed: int = 0) -> dict[str, Tensor]:
    """`count` samples of each input by its name, in its own dtype, floats in float64."""
    return {one.name: _drawn_input(one, count, seed) for one in inputs}


def _drawn_input(one: Input, count: int, seed: int) -> Tensor:
    shape, key = (count, *one.shape), f"input.{one.name}"
    if one.is_map:
        return drawn_pictures((count, one.shape[0], one.shape[1], one.shape[2]), seed, name=one.name)
    if one.dtype == "float32":
        return torch.from_numpy(_signed(key, shape, seed))
    limit = 2 if one.dtype == "bool" else one.limit or 2
    return torch.from_numpy(_uniform(key, shape, seed) * limit).floor().to(getattr(torch, one.dtype))


def drawn_pictures(shape: tuple[int, int, int, int], seed: int = 0, *, name: str = "picture") -> Tensor:
    """Pictures (N, C, H, W) in float64 of mean 0 and variance 1, smooth at all scales, with channels much alike.

    The sum of noise at grids of 2, 4, … 128 positions per side, each enlarged bilinearly: power falls with frequency
    about as in a photograph.
    """
    count, channels, *size = shape
    total = torch.zeros(shape, dtype=torch.float64)
    for side in (2, 4, 8, 16, 32, 64, 128):
        for part, depth, amplitude in (("grey", 1, 1.0), ("colour", channels, 0.4)):
            noise = _signed(f"{name}.{part}.{side}", (count, depth, side, side), seed)
            total += amplitude * F.interpolate(torch.from_numpy(noise), size=size, mode="bilinear")
    return (total - total.mean()) / total.std()


# ---- draws ---------------------------------------------------------------------------------------------------------


def _uniform(key: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """float64 in [0, 1): the upper 53 bits of the raw 64-bit stream."""
    bits = np.random.PCG64(zlib.crc32(f"{seed}:{key}".encode())).random_raw(int(np.prod(shape)))
    return np.asarray((bits >> np.uint64(11)) * 2.0**-53).reshape(shape)


def _signed(key: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """float64 of mean 0 and variance 1, between ±√3."""
    return (2 * _uniform(key, shape, seed) - 1) * 3**0.5


def _tensors(module: nn.Module) -> Iterator[tuple[str, nn.Module, str, Tensor]]:
    """Key, owner, last part of the key, and tensor of every parameter and buffer; a shared one under its first key."""
    seen: set[int] = set()
    for prefix, owner in module.named_modules():
        for leaf, tensor in (*owner.named_parameters(recurse=False), *owner.named_buffers(recurse=False)):
            if id(tensor) not in seen:
                seen.add(id(tensor))
                yield (f"{prefix}.{leaf}" if prefix else leaf), owner, leaf, tensor


def _drawn(key: str, owner: nn.Module, leaf: str, tensor: Tensor, seed: int, places: int) -> np.ndarray | None:
    """The value of one tensor; None for a buffer that is no statistic (an index, a grid), which stays as it is.

    A layer that a model has at several `places` is so much weaker: on a stream that passes all of them, what it adds
    would else be multiplied by itself.
    """
    shape = tuple(tensor.shape)
    norm = any("Norm" in kind.__name__ for kind in type(owner).__mro__)
    if leaf == "running_mean":
        return 0.2 * _signed(key, shape, seed)
    if leaf == "running_var":
        return 0.5 + _uniform(key, shape, seed)
    if not (isinstance(tensor, nn.Parameter) or (norm and leaf in ("weight", "bias"))) or not tensor.numel():
        return None
    if leaf == "gain" and float(tensor.min()) == float(tensor.max()) != 0:  # of standardised weights: a norm's weight
        return float(tensor.max()) * (0.5 + _uniform(key, shape, seed))
    if tensor.ndim == 1 and leaf.endswith("bias"):
        return 0.5 * _signed(key, shape, seed)
    if norm:
        return 0.5 + _uniform(key, shape, seed)
    if tensor.ndim > 1 and leaf.endswith("weight"):
        return _signed(key, shape, seed) * _fan_in(owner, shape) ** -0.5 / places
    return _drawn_by_start(key, tensor, seed)


def _drawn_by_start(key: str, tensor: Tensor, seed: int) -> np.ndarray:
    """A free parameter, by what it starts as: a silent scale, a scale, or an offset, a table, a vector of weights."""
    shape, low, high = tuple(tensor.shape), float(tensor.min()), float(tensor.max())
    if low == high and 0 < abs(low) < 0.05:
        return 1 + _uniform(key, shape, seed)
    if low == high and low != 0:
        return low * (0.25 + 0.5 * _uniform(key, shape, seed))
    return _signed(key, shape, seed)


def _fan_in(owner: nn.Module, shape: tuple[int, ...]) -> float:
    """How many products one output of this weight sums; a transposed convolution stores (in, out/groups, …)."""
    if isinstance(owner, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        return shape[0] / owner.groups * float(np.prod(shape[2:])) / float(np.prod(owner.stride))
    return float(np.prod(shape[1:]))
