"""The model itself in float64, without a copy of it: each weight is wide only while an operator reads it.

A copy of the whole model in float64 takes twice the room of its weights beside the model. Here every call of a torch
function widens what it is given, and what it makes, one call at a time. So a forward in which a module asks for float32
in the middle (`x.float()`) is wide there as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

NARROW = (torch.float16, torch.bfloat16, torch.float32)
NARROWING = (Tensor.half, Tensor.bfloat16, Tensor.float)


class Wide(TorchFunctionMode):
    """Within it torch functions compute in float64, on their own copies of narrower arguments."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func.__name__ == "__get__":  # a shape, a type: no value is read
            return func(*args, **(kwargs or {}))
        args, kwargs = tree_map(_wide, (args, kwargs or {}))
        if func in NARROWING:
            return args[0].double()
        return tree_map(_wide, func(*args, **kwargs))


def wide_answers(module: Callable[..., Any], *inputs: Tensor) -> list[Tensor]:
    """All tensors that `module(*inputs)` returns, every float computed in float64; the module stays as it is."""
    with torch.no_grad(), Wide():
        return tree_leaves(module(*inputs))


def _wide(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.double() if value.dtype in NARROW else value
    return torch.float64 if isinstance(value, torch.dtype) and value in NARROW else value
