"""What a saved file holds, in one form for all formats: interface, nodes, constants, metadata, cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...reparam.layer_cost import LayerCost
from ..artifact import Artifact, NotRun

LEAST = 2
"""A float constant of fewer elements is a setting (an epsilon, a scale), not a weight."""

SETTING = 16
"""A whole-number constant of up to so many elements is a setting (a shape, axes)."""


@dataclass(frozen=True)
class Value:
    """A constant: `read` gives its numbers (compressed ones decompressed), as float32 or integers."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    """As stored in the file."""
    read: Callable[[], NDArray]
    packed: str = ""
    """How it is compressed; empty for plain numbers."""

    @property
    def elements(self) -> int:
        return int(np.prod(self.shape))

    @property
    def is_weight(self) -> bool:
        return self.elements >= (LEAST if self.dtype.startswith(("float", "bfloat")) else SETTING + 1)


@dataclass(frozen=True)
class Node:
    """One operation. `operator` is the format's own word for it, `kind` the one that the formats share."""

    name: str
    operator: str
    kind: str
    module: str
    inputs: tuple[tuple[str, str], ...]
    """Slot and value, in the order of the format."""
    outputs: tuple[str, ...]
    settings: tuple[tuple[str, str], ...]
    """Attributes and small constants, as text, sorted by name."""
    dtype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class Contents:
    """A file, read. `constants` are all of them by name, `cost` is by operation in the order of execution."""

    artifact: Artifact
    metadata: Mapping[str, str]
    nodes: tuple[Node, ...]
    constants: Mapping[str, Value]
    features: Mapping[str, str]
    """Input → what it is declared as, in words: what the artifact's shapes and types do not say."""
    cost: tuple[LayerCost, ...] | NotRun

    @property
    def weights(self) -> tuple[Value, ...]:
        return tuple(value for value in self.constants.values() if value.is_weight)


def told(value: object) -> str:
    """A setting as text; numbers as float32 prints them, so that formats agree."""
    if isinstance(value, np.ndarray):
        value = value.astype(np.float32).tolist() if value.dtype.kind == "f" else value.tolist()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(told(entry) for entry in value) + "]"
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)
