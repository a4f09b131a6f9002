"""The two arithmetics in which a program can be executed.

`declared`: every result is rounded to the element type that the program declares for it; inside an operator the
arithmetic is float32 (float64 where the program declares it). This models an engine that stores half precision and
accumulates in single; it is the verdict's basis. It is not the Neural Engine: no tables for activations, no
half-precision accumulators, no tiling.

`exact`: float64 throughout and no rounding, on the weights as stored. What differs from PyTorch in float64 then is an
error of the conversion or of storing the weights, never of precision.

A float16 tensor is carried as float32 whose values float16 can represent: rounding is two conversions, and no operator
needs a half-precision kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from .dtypes import DataType

Mode = Literal["declared", "exact"]
MODES: tuple[Mode, ...] = ("declared", "exact")
NARROW = {"fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Arithmetic:
    """How values are carried and rounded in one mode."""

    mode: Mode

    def carrier(self, dtype: DataType) -> torch.dtype:
        """The torch type that holds values declared as `dtype`."""
        return torch.float64 if self.mode == "exact" and dtype.is_float else dtype.carrier

    def through(self, dtype: DataType) -> torch.dtype | None:
        """The narrow type that a result declared as `dtype` passes through, or None when it is stored as carried."""
        return NARROW.get(dtype.name) if self.mode == "declared" else None

    def constant(self, value: np.ndarray, dtype: DataType) -> Tensor:
        """A decoded constant as a tensor in its carrier; a view of the weight file where the types agree."""
        if dtype.name == "bf16":
            value = np.asarray(value.astype(np.uint32) << 16).view(np.float32)
        elif value.dtype in (np.uint16, np.uint32, np.uint64):
            value = value.astype(np.int64)
        writable = value if value.flags.writeable else value.copy()
        return torch.from_numpy(writable).to(self.carrier(dtype))


def arithmetic(mode: str) -> Arithmetic:
    """The arithmetic named `mode`; raises ValueError for an unknown name."""
    for known in MODES:
        if mode == known:
            return Arithmetic(known)
    raise ValueError(f"unknown mode {mode!r}; known: {', '.join(MODES)}")
