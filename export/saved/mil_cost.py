"""What each operation of a saved Core ML package costs, from the shapes that its program declares.

Nothing is executed and no weight is decoded; compressed weights count with the bytes that they have in the file. MACs
are those of convolutions and matrix products, as in `reparam/cost.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...mil import MilError
from ...mil.package import open_package
from ...mil.program import Constant, Function, Operation, ValueType
from ...reparam.cost import product_of_labels
from ...reparam.layer_cost import LayerCost
from ..given import NotGiven
from .modules import EXPORT_ID, modules_beside

VIEWS = ("reshape", "expand_dims", "squeeze", "identity", "flatten2d", "shape")
COUNTED = ("conv", "conv_transpose", "linear", "matmul", "scaled_dot_product_attention", "einsum")
NOT_COUNTED = ("lstm", "gru", "rnn", "cond", "while_loop")


@dataclass(frozen=True)
class _Weight:
    """A constant of the program: its elements if they are floats, and its bytes in the file."""

    elements: int
    bytes: int


def mil_layers(path: Path) -> tuple[list[LayerCost], dict[str, tuple[int | str, ...]], list[str]]:
    """Every operation in the order of execution, the shapes of the inputs, and the types that were not counted.

    Raises NotGiven for a package that is none, or whose program leaves a size open.
    """
    try:
        package = open_package(path)
        function = package.functions[package.description.defaultFunctionName or next(iter(package.functions))]
    except MilError as error:
        raise NotGiven(f"{path.name} cannot be read as a Core ML package: {error}") from error
    modules = modules_beside(path, package.description.metadata.userDefined.get(EXPORT_ID))
    counted = list(_layers(path, function, modules))
    inputs: dict[str, tuple[int | str, ...]] = {
        given.name: _shape(path, given.name, given.type) for given in function.inputs
    }
    return counted, inputs, sorted({operation.type for operation in function.block.walk()} & set(NOT_COUNTED))


def _layers(path: Path, function: Function, modules: Mapping[str, str]) -> Iterator[LayerCost]:
    operations = function.block.operations
    types = {value.name: value.type for value in function.inputs}
    types |= {value.name: value.type for operation in operations for value in operation.outputs}
    weights = {
        value.name: _weight(operation)
        for operation in operations
        if _is_constant(operation)
        for value in operation.outputs
    }
    texts = {operation.name: operation.attributes["val"] for operation in operations if operation.type == "const"}
    seen: set[str] = set()
    for operation in operations:
        if _is_constant(operation):
            continue
        reads = list(dict.fromkeys(operation.reads()))
        fresh = [weights[name] for name in reads if name in weights and name not in seen]
        seen.update(reads)
        moves = operation.type not in VIEWS
        activations = [name for name in reads if name not in weights and name in types]
        yield LayerCost(
            name=operation.name,
            operator=operation.type,
            module=next((modules[value.name] for value in operation.outputs if value.name in modules), ""),
            macs=_macs(path, operation, types, texts),
            parameters=sum(weight.elements for weight in fresh),
            weight_bytes=sum(weight.bytes for weight in fresh),
            read_bytes=sum(_bytes(path, name, types[name]) for name in activations) if moves else 0,
            written_bytes=sum(_bytes(path, value.name, value.type) for value in operation.outputs) if moves else 0,
        )


def _is_constant(operation: Operation) -> bool:
    return operation.type == "const" or operation.type.startswith("constexpr_")


def _weight(operation: Operation) -> _Weight:
    """What a constant, or one that is decompressed when the model is loaded, stores."""
    given = [one for bound in operation.inputs.values() for one in bound if isinstance(one, Constant)]
    stored = [constant.type for constant in (*operation.attributes.values(), *given)]
    made = operation.outputs[0].type
    counts = made.dtype is not None and made.dtype.is_float and made.shape
    return _Weight(math.prod(n or 0 for n in made.shape or ()) if counts else 0, sum(map(_stored_bytes, stored)))


def _stored_bytes(stored: ValueType) -> int:
    bits = stored.dtype.bits if stored.dtype is not None else 0
    return -(-math.prod(n or 0 for n in stored.shape or ()) * bits // 8)


def _bytes(path: Path, name: str, of: ValueType) -> int:
    bits = of.dtype.bits if of.dtype is not None else 0
    return math.prod(_shape(path, name, of)) * bits // 8


def _shape(path: Path, name: str, of: ValueType) -> tuple[int, ...]:
    shape = of.shape if of.shape is not None else (None,)
    if any(size is None for size in shape):
        raise NotGiven(
            f"{path.name}: the size of {name!r} is open; export it without --dynamic-batch to have it counted"
        )
    return tuple(size for size in shape if size is not None)


def _macs(path: Path, operation: Operation, types: Mapping[str, ValueType], texts: Mapping[str, Constant]) -> int:
    """Multiply-accumulates of an operation."""

    def shapes(name: str) -> list[tuple[int, ...]]:
        bound = operation.inputs.get(name, ())
        return [_shape(path, name, types[one] if isinstance(one, str) else one.type) for one in bound]

    if operation.type not in COUNTED:
        return 0
    made = _shape(path, operation.name, operation.outputs[0].type)
    size = math.prod(made)
    if operation.type == "conv":
        return size * math.prod(shapes("weight")[0][1:])
    if operation.type == "conv_transpose":
        return math.prod(shapes("x")[0]) * math.prod(shapes("weight")[0][1:])
    if operation.type == "linear":
        return size * shapes("weight")[0][-1]
    if operation.type == "matmul":
        left = shapes("x")[0]  # (…, M, K), or (…, K, M) if it is to be transposed
        return size * (math.prod(left[-2:]) // (made[-2] if len(left) > 1 and len(made) > 1 else 1))
    if operation.type == "scaled_dot_product_attention":
        query, key, value = shapes("query")[0], shapes("key")[0], shapes("value")[0]
        return math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])
    (equation,) = operation.inputs["equation"]
    text = (texts[equation] if isinstance(equation, str) else equation).read()
    return product_of_labels(str(text), shapes("values"))
