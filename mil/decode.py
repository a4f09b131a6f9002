"""Turns the protobuf messages of MIL.proto into the nouns of `program.py`, checking each against the others.

The program is taken as stored: nothing is folded, renamed or reordered. What is checked: element types are known,
inline constants have as many elements as their shape says, weights lie inside their file and have the declared type,
every value is made before it is used (so a cyclic program cannot pass), once, and blocks nest to a sane depth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np

from .blob import BlobFile
from .dtypes import BY_CODE, DataType, unpack_bits
from .errors import PackageError, UnsupportedOperator
from .program import Binding, Block, Constant, Function, Operation, ValueType, Variable

OPSETS = range(5, 10)
MAX_BLOCK_DEPTH = 32
MAX_OPERATIONS = 1_000_000
MAX_ELEMENTS = 2**31
"""Largest tensor that a program may declare: 8 GiB in float32, ten times the largest weight of a vision model."""

OpenBlob = Callable[[str], BlobFile]
"""Opens a weight file by the name that the program gives it."""


def decode_function(name: str, message: Any, open_blob: OpenBlob) -> Function:
    """The function `name` from its MIL.proto message; raises PackageError or UnsupportedOperator with the place."""
    opset = _opset(name, message.opset)
    if message.opset not in message.block_specializations:
        raise PackageError(f"function {name!r} has no block for its operator set {message.opset!r}")
    inputs = tuple(_variable(i, f"input of function {name!r}") for i in message.inputs)
    _refuse_repeats([i.name for i in inputs], f"inputs of function {name!r}")
    block = message.block_specializations[message.opset]
    scope = frozenset(i.name for i in inputs)
    return Function(name, opset, inputs, _block(block, scope, open_blob, f"function {name!r}", 1))


def _opset(name: str, text: str) -> int:
    number = text.removeprefix("CoreML")
    if not text.startswith("CoreML") or not number.isdecimal() or int(number) not in OPSETS:
        raise PackageError(f"function {name!r} uses operator set {text!r}; known: CoreML5 (iOS15) to CoreML9 (iOS26)")
    return int(number)


def _block(message: Any, scope: frozenset[str], open_blob: OpenBlob, where: str, depth: int) -> Block:
    if depth > MAX_BLOCK_DEPTH:
        raise PackageError(f"{where}: blocks are nested more than {MAX_BLOCK_DEPTH} deep")
    if len(message.operations) > MAX_OPERATIONS:
        raise PackageError(f"{where}: {len(message.operations)} operations, at most {MAX_OPERATIONS} are read")
    inputs = tuple(_variable(i, f"{where}, block input") for i in message.inputs)
    own = {i.name for i in inputs}
    visible = set(scope) | own
    operations = []
    for index, operation in enumerate(message.operations):
        place = f"{where}, operation {index} ({operation.type})"
        decoded = _operation(operation, visible, open_blob, place, depth)
        names = [o.name for o in decoded.outputs]
        _refuse_repeats([*own, *names] if not own.isdisjoint(names) else names, place)
        own.update(names)
        visible.update(names)
        operations.append(decoded)
    for name in message.outputs:
        if name not in visible:
            raise PackageError(f"{where}: the output {name!r} is never made")
    return Block(inputs, tuple(operations), tuple(message.outputs))


def _operation(message: Any, visible: set[str], open_blob: OpenBlob, where: str, depth: int) -> Operation:
    inputs = {key: _bindings(argument, visible, open_blob, where) for key, argument in message.inputs.items()}
    attributes = {key: constant(value, open_blob, where) for key, value in message.attributes.items() if key != "name"}
    outputs = tuple(_variable(o, where) for o in message.outputs)
    blocks = tuple(_block(b, frozenset(visible), open_blob, where, depth + 1) for b in message.blocks)
    return Operation(message.type, inputs, attributes, outputs, blocks)


def _bindings(argument: Any, visible: set[str], open_blob: OpenBlob, where: str) -> tuple[Binding, ...]:
    found: list[Binding] = []
    for binding in argument.arguments:
        kind = binding.WhichOneof("binding")
        if kind == "value":
            found.append(constant(binding.value, open_blob, where))
        elif kind == "name" and binding.name in visible:
            found.append(binding.name)
        elif kind == "name":
            raise PackageError(f"{where}: uses {binding.name!r} before it is made (a cyclic or damaged program)")
        else:
            raise PackageError(f"{where}: an input is bound to nothing")
    return tuple(found)


def _variable(message: Any, where: str) -> Variable:
    return Variable(message.name, value_type(message.type, f"{where}, {message.name!r}"))


def _refuse_repeats(names: list[str], where: str) -> None:
    repeated = sorted({n for n in names if names.count(n) > 1})
    if repeated:
        raise PackageError(f"{where}: the value {repeated[0]!r} is made twice")


def value_type(message: Any, where: str) -> ValueType:
    """The declared type from a `ValueType` message; raises PackageError when it is unknown or absurdly large."""
    kind = message.WhichOneof("type")
    if kind == "stateType":
        inner = value_type(message.stateType.wrappedType, where)
        return ValueType("state", inner.dtype, inner.shape)
    if kind != "tensorType":
        if kind is None:
            raise PackageError(f"{where}: has no type")
        return ValueType(kind.removesuffix("Type"))
    tensor = message.tensorType
    dtype = BY_CODE.get(tensor.dataType)
    if dtype is None:
        raise PackageError(f"{where}: element type number {tensor.dataType} is unknown")
    shape = _shape(tensor)
    known = prod(n for n in shape if n is not None) if shape else 1
    if known > MAX_ELEMENTS:
        raise PackageError(f"{where}: declares {known} elements, at most {MAX_ELEMENTS} are accepted")
    return ValueType("tensor", dtype, shape)


def _shape(tensor: Any) -> tuple[int | None, ...] | None:
    if any(d.unknown.variadic for d in tensor.dimensions):
        return None
    return tuple(d.constant.size if d.WhichOneof("dimension") == "constant" else None for d in tensor.dimensions)


def constant(message: Any, open_blob: OpenBlob, where: str) -> Constant:
    """A constant from a `Value` message. Its place and size are checked now, its elements decoded when read."""
    declared = value_type(message.type, where)
    if message.WhichOneof("value") == "blobFileValue":
        return _blob_constant(message.blobFileValue, declared, open_blob, where)
    if declared.kind == "tensor":
        return _inline_constant(message.immediateValue.tensor, declared, where)
    inline = message.immediateValue
    if declared.kind == "list":
        items = [constant(v, open_blob, where) for v in inline.list.values]
        return Constant(declared, lambda: [i.read() for i in items])
    if declared.kind == "dictionary":
        pairs = [
            (constant(p.key, open_blob, where), constant(p.value, open_blob, where)) for p in inline.dictionary.values
        ]
        return Constant(declared, lambda: {_plain(k.read()): v.read() for k, v in pairs})
    raise UnsupportedOperator(f"{where}: a constant of kind {declared.kind} is not supported")


def _plain(key: object) -> object:
    return key.item() if isinstance(key, np.ndarray) else key


def _blob_constant(message: Any, declared: ValueType, open_blob: OpenBlob, where: str) -> Constant:
    dtype, shape = _static(declared, where)
    if dtype.storage is None:
        raise PackageError(f"{where}: strings cannot lie in a weight file")
    blob, offset = open_blob(message.fileName), message.offset
    blob.locate(offset, dtype, prod(shape))
    return Constant(declared, lambda: blob.read(offset, dtype, shape))


def _static(declared: ValueType, where: str) -> tuple[DataType, tuple[int, ...]]:
    if declared.kind != "tensor" or declared.dtype is None or declared.shape is None or None in declared.shape:
        raise PackageError(f"{where}: a constant needs a tensor type of known shape, it has {declared}")
    return declared.dtype, tuple(n for n in declared.shape if n is not None)


def _inline_constant(tensor: Any, declared: ValueType, where: str) -> Constant:
    dtype, shape = _static(declared, where)
    field = tensor.WhichOneof("value")
    values: Any = getattr(tensor, field).values if field else ()
    count = prod(shape)
    expected = -(-count * dtype.bits // 8) if field == "bytes" else count
    if len(values) != expected:
        unit = "bytes" if field == "bytes" else "elements"
        raise PackageError(f"{where}: a constant of {declared} holds {len(values)} {unit}, expected {expected}")
    if (dtype.storage is None) != (field == "strings" or (field is None and dtype.storage is None)):
        raise PackageError(f"{where}: a constant of {declared} is stored as {field}")
    if dtype.storage is None:
        return Constant(declared, lambda: values[0] if shape == () else list(values))
    return Constant(declared, _inline_reader(values, field, dtype, shape))


def _inline_reader(values: Any, field: str | None, dtype: DataType, shape: tuple[int, ...]) -> Callable[[], np.ndarray]:
    def read() -> np.ndarray:
        if field != "bytes":
            return np.array(values, dtype.storage).reshape(shape)
        if dtype.bits < 8:
            return unpack_bits(np.frombuffer(values, np.uint8), dtype, prod(shape)).reshape(shape)
        return np.frombuffer(values, dtype.storage).reshape(shape)

    return read


def function_names(functions: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of a program's functions, "main" first."""
    return tuple(sorted(functions, key=lambda n: (n != "main", n)))
