"""The tensors that a model gives, by name: out of a tuple, a dict, a dataclass, or any nesting of them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

STEM = "output"

_KNOWN = (torch.float32, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)


class OutputError(ValueError):
    """A model that gives nothing that a file could; the message is one line."""


def tensors(output: Any) -> Any:
    """`output` as it is where torch can take it apart into tensors; else a tuple of the tensors that are in it."""
    if all(isinstance(leaf, Tensor) for leaf in tree_leaves(output)):
        return output
    return tuple(leaf for _, leaf in _walk(output, ""))


def names(output: Any) -> tuple[str, ...]:
    """A name for each of `tree_leaves(tensors(output))`: the keys and fields that lead to it, numbers in sequences.

    A single tensor is `STEM`. Raises OutputError where there is no tensor, or one of a kind that no file has.
    """
    found = list(_walk(output, ""))
    if not found:
        raise OutputError(f"the model gives {type(output).__name__} without a tensor; expected tensors, in any nesting")
    for path, leaf in found:
        if leaf.dtype not in _KNOWN:
            known = ", ".join(str(dtype).removeprefix("torch.") for dtype in _KNOWN)
            what = f"{path or STEM} in {str(leaf.dtype).removeprefix('torch.')}"
            raise OutputError(f"the model gives {what}; expected {known}")
    plain = [re.sub(r"\W", "_", path) for path, _ in found]
    if len(plain) == 1 and (plain[0].isdigit() or not plain[0]):
        return (STEM,)
    named = [f"{STEM}{name}" if name[:1].isdigit() else name or STEM for name in plain]
    return tuple(name if named.count(name) == 1 else f"{name}_{at}" for at, name in enumerate(named, 1))


def _walk(value: Any, path: str) -> Iterator[tuple[str, Tensor]]:
    """Every tensor with the way to it; what is no tensor (None, a number, a text) is left out."""
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _walk(inner, _below(path, str(key)))
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        for key, inner in zip(value._fields, value, strict=True):  # pyright: ignore
            yield from _walk(inner, _below(path, key))
    elif isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        for number, inner in enumerate(value, 1):
            yield from _walk(inner, f"{path}{'_' if path[-1:].isdigit() else ''}{number}")
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _walk(getattr(value, field.name), _below(path, field.name))


def _below(path: str, key: str) -> str:
    return f"{path}_{key}" if path else key
