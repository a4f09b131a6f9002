"""An ONNX graph under construction, and the values that lowering functions hand around."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..dtypes import DataType
from ..errors import MilError

OPSET = 21
IR_VERSION = 10


class CannotLower(MilError):
    """This operation has no ONNX form here; the message says which and why."""


@dataclass(frozen=True)
class Symbol:
    """A value of the graph. `value` is its content where that is known without running.

    `named()` gives its name in the graph; a constant is stored there when it is first asked for.
    """

    shape: tuple[int, ...]
    dtype: DataType
    named: Callable[[], str]
    value: torch.Tensor | None = None

    @property
    def name(self) -> str:
        return self.named()

    @property
    def ndim(self) -> int:
        return len(self.shape)


ONNX_TYPES = {
    "fp16": "FLOAT",
    "fp32": "FLOAT",
    "bf16": "FLOAT",
    "fp64": "DOUBLE",
    "bool": "BOOL",
    "int8": "INT8",
    "uint8": "UINT8",
    "int64": "INT64",
    "uint32": "INT64",
    "uint64": "INT64",
}
"""MIL element type → ONNX element type that carries it; all other integers are carried as INT32."""


def onnx_type(dtype: DataType) -> int:
    """The number of the ONNX element type that carries `dtype`."""
    from onnx import TensorProto

    return TensorProto.DataType.Value(ONNX_TYPES.get(dtype.name, "INT32"))


class Graph:
    """Nodes and constants in order. Names are unique; small equal constants are stored once."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._taken: set[str] = set()
        self._small: dict[tuple[Any, ...], str] = {}
        self._large: dict[int, tuple[torch.Tensor, str]] = {}
        self.prefix = ""

    def fresh(self, wish: str) -> str:
        """A name like `wish` that is not taken yet, and now is."""
        name, number = wish, 1
        while name in self._taken:
            number += 1
            name = f"{wish}_{number}"
        self._taken.add(name)
        return name

    def node(self, kind: str, inputs: list[str], *, name: str | None = None, **attributes: Any) -> str:
        """One node with one result, whose name is returned. Attributes that are None are left out."""
        return self.nodes_with(kind, inputs, 1, name=name, **attributes)[0]

    def nodes_with(
        self, kind: str, inputs: list[str], results: int, *, name: str | None = None, **attributes: Any
    ) -> list[str]:
        """One node with several results, whose names are returned."""
        from onnx import helper

        names = [self.fresh(name or f"{self.prefix}/{kind}") for _ in range(results)]
        given = {k: v for k, v in attributes.items() if v is not None}
        self.nodes.append(helper.make_node(kind, inputs, names, **given))
        return names

    def constant(self, value: Any, dtype: type = np.float32, name: str | None = None) -> str:
        """A constant array; numbers, lists or arrays, stored as `dtype`."""
        from onnx import numpy_helper

        array = np.ascontiguousarray(np.asarray(value, dtype)).reshape(np.shape(value))
        key = (array.dtype.str, array.shape, array.tobytes()) if array.size <= 64 else None
        if key in self._small:
            return self._small[key]
        name = self.fresh(name or f"{self.prefix}/constant")
        self.constants.append(numpy_helper.from_array(array, name))
        if key:
            self._small[key] = name
        return name

    def ints(self, *values: int) -> str:
        """A vector of int64, as shapes, axes and pads are given."""
        return self.constant(list(values), np.int64)

    def tensor(self, value: torch.Tensor, name: str) -> str:
        """A decoded constant of the program; the same tensor is stored once."""
        known = self._large.get(id(value))
        if known is not None:
            return known[1]
        stored = self.constant(value.numpy(), NUMPY_TYPES.get(value.dtype, np.int32), name)
        self._large[id(value)] = (value, stored)
        return stored


NUMPY_TYPES: dict[torch.dtype, type] = {
    torch.float32: np.float32,
    torch.float64: np.float64,
    torch.bool: np.bool_,
    torch.int8: np.int8,
    torch.uint8: np.uint8,
    torch.int64: np.int64,
}
