"""The contents of a Core ML package: its program, its constants (decompressed when read), its picture inputs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import mil
from ...mil.constants import decompressed
from ...mil.features import Feature, read_interface
from ...mil.package import open_package
from ...mil.program import Constant, Function, Operation, ValueType
from ..artifact import Artifact, NotRun
from ..formats.mlpackage import FIELDS
from ..given import NotGiven
from ..saved.mil_cost import mil_layers
from ..saved.modules import EXPORT_ID, modules_beside
from ..saved.opened import ArtifactError
from .contents import Contents, Node, Value, told
from .kinds import of_mil

NAMES = {"fp16": "float16", "fp32": "float32", "fp64": "float64", "bf16": "bfloat16"}


def read_mil(artifact: Artifact) -> Contents:
    """The package behind an opened artifact. Raises ArtifactError for a program that cannot be read."""
    try:
        package = open_package(artifact.path)
        function = package.functions[package.description.defaultFunctionName or next(iter(package.functions))]
        interface = read_interface(package.description, function)
    except mil.MilError as error:
        raise ArtifactError(f"{artifact.path}: {error}") from error
    metadata = package.description.metadata
    constants = {value.name: value for value in _constants(function)}
    texts = {made.name: told(made.attributes["val"].read()) for made in function.block.walk() if _is_text(made)}
    modules = modules_beside(artifact.path, metadata.userDefined.get(EXPORT_ID))
    return Contents(
        artifact,
        {key: text for key, name in FIELDS.items() if (text := getattr(metadata, name))} | dict(metadata.userDefined),
        tuple(_node(made, constants, texts, modules) for made in function.block.walk() if not _is_constant(made)),
        constants,
        {feature.name: _declared(feature) for feature in interface.inputs},
        _cost(artifact),
    )


def _is_constant(operation: Operation) -> bool:
    return operation.type == "const" or operation.type.startswith("constexpr_")


def _is_text(operation: Operation) -> bool:
    """Whether it is a constant that is no array of numbers: a mode, a list of labels."""
    declared = operation.outputs[0].type.dtype if operation.outputs else None
    return operation.type == "const" and (declared is None or declared.storage is None)


def _declared(feature: Feature) -> str:
    """'image RGB', 'tensor'; with the shapes that it may have, where there are several."""
    what = f"{feature.kind} {feature.colour}" if feature.colour else feature.kind
    shapes = f", {feature.expected()}" if feature.shapes or feature.ranges else ""
    return f"{what}{shapes}, optional" if feature.optional else f"{what}{shapes}"


def _constants(function: Function) -> Iterator[Value]:
    """Those of the program, and those that operations have in place, as `operation.slot`."""
    find = decompressed(function)
    for made in function.block.walk():
        if _is_constant(made):
            read = partial(find, made.name) if made.type != "const" else partial(_stored, made.attributes["val"])
            packed = "" if made.type == "const" else made.type
            if (value := _value(made.name, made.outputs[0].type, made, read, packed)) is not None:
                yield value
        else:
            for slot, bound in made.inputs.items():
                for one in bound:
                    if isinstance(one, Constant) and (
                        value := _value(f"{made.name}.{slot}", one.type, made, partial(_stored, one), "")
                    ):
                        yield value


def _value(name: str, declared: ValueType, made: Operation, read: Any, packed: str) -> Value | None:
    if declared.dtype is None or declared.shape is None or declared.dtype.storage is None:
        return None
    shape = tuple(size or 0 for size in declared.shape)
    size = _packed_bytes(made) if packed else math.prod(shape) * declared.dtype.bits // 8
    return Value(name, shape, NAMES.get(declared.dtype.name, declared.dtype.name), size, read, packed)


def _packed_bytes(made: Operation) -> int:
    given = [one for bound in made.inputs.values() for one in bound if isinstance(one, Constant)]
    types = [constant.type for constant in (*made.attributes.values(), *given)]
    return sum(
        math.prod(n or 0 for n in kind.shape or ()) * (kind.dtype.bits if kind.dtype else 0) // 8 for kind in types
    )


def _stored(constant: Constant) -> NDArray:
    found = np.asarray(constant.read())
    return found.astype(np.float32) if found.dtype.kind == "f" else found


def _node(
    made: Operation, constants: Mapping[str, Value], texts: Mapping[str, str], modules: Mapping[str, str]
) -> Node:
    inputs, settings = [], {}
    for slot, bound in made.inputs.items():
        for at, one in enumerate(bound):
            key = slot if len(bound) == 1 else f"{slot} {at}"
            name = one if isinstance(one, str) else f"{made.name}.{slot}"
            inputs.append((key, name))
            if isinstance(one, Constant) and name not in constants:
                settings[key] = told(one.read())
            elif name in constants and not constants[name].is_weight:
                settings[key] = told(constants[name].read())
            elif name in texts:
                settings[key] = texts[name]
    first = made.outputs[0].type if made.outputs else None
    return Node(
        name=made.name,
        operator=made.type,
        kind=of_mil(made.type),
        module=next((modules[value.name] for value in made.outputs if value.name in modules), ""),
        inputs=tuple(inputs),
        outputs=tuple(value.name for value in made.outputs),
        settings=tuple(sorted(settings.items())),
        dtype=NAMES.get(first.dtype.name, first.dtype.name) if first is not None and first.dtype else "unknown",
        shape=first.shape if first is not None else None,
    )


def _cost(artifact: Artifact) -> Any:
    try:
        return tuple(mil_layers(artifact.path)[0])
    except NotGiven as error:
        return NotRun(str(error))
