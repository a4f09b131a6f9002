"""Builds small ML Programs message by message, weights included, so that a test says exactly what lies in the file."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fuseport.mil import schema
from fuseport.mil.blob import ELEMENT_TYPES, SENTINEL
from fuseport.mil.dtypes import BY_NAME

ARRAY_TYPES = {"fp32": 65568, "fp64": 65600, "int32": 131104, "fp16": 65552, "int8": 131080}
BLOB_CODES = {name: code for code, name in ELEMENT_TYPES.items()}
NAMES = {
    np.dtype(np.float32): "fp32",
    np.dtype(np.float16): "fp16",
    np.dtype(np.int32): "int32",
    np.dtype(bool): "bool",
}

Shape = Sequence[int | None]


class Program:
    """An ML Program under construction; values are known by their names."""

    def __init__(self, opset: int = 8, name: str = "main") -> None:
        self.model = schema.model_message()
        self.model.specificationVersion = opset + 1
        self.function = self.model.mlProgram.functions[name]
        self.model.mlProgram.version = 1
        self.function.opset = f"CoreML{opset}"
        self.block = self.function.block_specializations[f"CoreML{opset}"]
        self.weights = bytearray(struct.pack("<II", 0, 2) + bytes(56))
        self._constants = 0

    def input(self, name: str, shape: Shape = (), dtype: str = "fp32") -> str:
        """A tensor input."""
        variable = self.function.inputs.add(name=name)
        set_type(variable.type, dtype, shape)
        feature = self.model.description.input.add(name=name)
        feature.type.multiArrayType.dataType = ARRAY_TYPES.get(dtype, 65568)
        feature.type.multiArrayType.shape.extend(n or 1 for n in shape)
        return name

    def state(self, name: str, shape: Shape, dtype: str = "fp16") -> str:
        """A state input."""
        variable = self.function.inputs.add(name=name)
        set_type(variable.type.stateType.wrappedType, dtype, shape)
        self.model.description.state.add(name=name).type.stateType.arrayType.dataType = ARRAY_TYPES[dtype]
        return name

    def const(self, value: Any, *, dtype: str | None = None, blob: bool = False, block: Any = None) -> str:
        """A constant operation; `blob` puts the data into the weight file."""
        self._constants += 1
        name = f"c{self._constants}"
        operation = (block or self.block).operations.add(type="const")
        output = operation.outputs.add(name=name)
        stored = operation.attributes["val"]
        if blob:
            self.set_blob(stored, np.asarray(value), dtype)
        else:
            set_value(stored, value, dtype)
        output.type.CopyFrom(stored.type)
        return name

    def set_blob(self, stored: Any, array: np.ndarray, dtype: str | None = None, raw: bytes | None = None) -> int:
        """Write `array` (or packed `raw` of its shape) to the weight file and let `stored` refer to it."""
        dtype = dtype or NAMES[array.dtype]
        set_type(stored.type, dtype, array.shape)
        data = array.tobytes() if raw is None else raw
        offset = len(self.weights)
        padding = len(data) * 8 - array.size * BY_NAME[dtype].bits
        header = struct.pack("<IIQQQ", SENTINEL, BLOB_CODES[dtype], len(data), offset + 64, padding)
        self.weights += header + bytes(32) + data + bytes(-len(data) % 64)
        stored.blobFileValue.fileName = "@model_path/weights/weight.bin"
        stored.blobFileValue.offset = offset
        return offset

    def op(
        self,
        type_: str,
        outputs: Sequence[tuple[str, Shape, str]] | tuple[str, Shape, str],
        block: Any = None,
        **inputs: Any,
    ) -> Any:
        """An operation. An input is a name, a list of names, or a plain value, which becomes a constant."""
        outputs = [outputs] if isinstance(outputs, tuple) else list(outputs)
        block = block or self.block
        bound = {key: self._bindings(value, block) for key, value in inputs.items()}
        operation = block.operations.add(type=type_)
        for key, names in bound.items():
            for name in names:
                operation.inputs[key].arguments.add(name=name)
        for name, shape, dtype in outputs:
            set_type(operation.outputs.add(name=name).type, dtype, shape)
        return operation

    def _bindings(self, value: Any, block: Any) -> list[str]:
        if isinstance(value, Ref):
            return list(value.names)
        return [self.const(value, block=block)]

    def output(self, name: str, dtype: str = "fp32") -> None:
        """Let the function return the value `name`."""
        self.block.outputs.append(name)
        feature = self.model.description.output.add(name=name)
        feature.type.multiArrayType.dataType = ARRAY_TYPES.get(dtype, 65568)

    def save(self, path: Path) -> Path:
        """Write the package folder."""
        folder = path / "Data" / "com.apple.CoreML"
        (folder / "weights").mkdir(parents=True)
        (folder / "model.mlmodel").write_bytes(self.model.SerializeToString())
        (folder / "weights" / "weight.bin").write_bytes(self.weights)
        items = {
            identifier: {
                "author": "com.apple.CoreML",
                "description": name,
                "name": name,
                "path": f"com.apple.CoreML/{name}",
            }
            for identifier, name in (("A", "model.mlmodel"), ("B", "weights"))
        }
        manifest = {"fileFormatVersion": "1.0.0", "itemInfoEntries": items, "rootModelIdentifier": "A"}
        (path / "Manifest.json").write_text(json.dumps(manifest))
        return path


class Ref:
    """Values of the program by name, as an input of an operation."""

    def __init__(self, *names: str) -> None:
        self.names = names


def set_type(message: Any, dtype: str, shape: Shape) -> None:
    """A tensor type; None in the shape is an unknown dimension."""
    message.tensorType.dataType = BY_NAME[dtype].code
    message.tensorType.rank = len(shape)
    for n in shape:
        dimension = message.tensorType.dimensions.add()
        if n is None:
            dimension.unknown.variadic = False
        else:
            dimension.constant.size = n


def set_value(message: Any, value: Any, dtype: str | None = None) -> None:
    """An inline constant: a str, a list of str, a bool, int, float or an array."""
    if isinstance(value, str) or (isinstance(value, list) and value and isinstance(value[0], str)):
        values = [value] if isinstance(value, str) else value
        set_type(message.type, "string", () if isinstance(value, str) else (len(value),))
        message.immediateValue.tensor.strings.values.extend(values)
        return
    array = np.asarray(value)
    if dtype is None:
        array = (
            array.astype({"i": np.int32, "f": np.float32}.get(array.dtype.kind, array.dtype))
            if array.ndim == 0 or isinstance(value, list | tuple)
            else array
        )
        dtype = NAMES.get(array.dtype, str(array.dtype))
    set_type(message.type, dtype, array.shape)
    tensor = message.immediateValue.tensor
    if dtype == "fp32":
        tensor.floats.values.extend(array.reshape(-1).tolist())
    elif dtype == "int32":
        tensor.ints.values.extend(array.reshape(-1).tolist())
    elif dtype == "bool":
        tensor.bools.values.extend(array.reshape(-1).tolist())
    else:
        tensor.bytes.values = array.tobytes()


def affine_program(opset: int = 7) -> Program:
    """y = relu(x w' + b) with w (3, 4) and b (3) in the weight file; x (2, 4)."""
    program = Program(opset)
    x = program.input("x", (2, 4))
    generator = np.random.default_rng(0)
    weight = program.const(generator.standard_normal((3, 4), dtype=np.float32), blob=True)
    bias = program.const(np.array([0.1, -0.2, 0.3], np.float32), blob=True)
    program.op("linear", ("z", (2, 3), "fp32"), x=Ref(x), weight=Ref(weight), bias=Ref(bias))
    program.op("relu", ("y", (2, 3), "fp32"), x=Ref("z"))
    program.output("y")
    return program
