"""The constants of a saved program as arrays, compressed ones decompressed, each made when it is asked for."""

from __future__ import annotations

from collections.abc import Callable

import torch
from numpy.typing import NDArray

from .arithmetic import arithmetic
from .plan import Planner
from .program import Function


def decompressed(function: Function) -> Callable[[str], NDArray]:
    """Name of a constant of the function's own block → its numbers, rounded as the program declares, in float32.

    The function raises KeyError for another name, UnsupportedOperator for a compression that is not known.
    """
    found = Planner(function.opset, arithmetic("declared")).constants(function.block)

    def read(name: str) -> NDArray:
        with torch.inference_mode():
            return found.value(name, keep=False).numpy()

    return read
