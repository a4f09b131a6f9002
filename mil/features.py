"""What a model says of its inputs and outputs to the outside: tensors, pictures, labels, with the shapes it accepts.

The program underneath only knows tensors. The description adds which of them are pictures and in which colour layout,
which shapes a flexible input takes, and what a missing optional input stands for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .errors import PackageError
from .program import Function, Variable

ARRAY_TYPES = {65568: "float32", 65600: "float64", 131104: "int32", 65552: "float16", 131080: "int8"}
COLOURS = {10: "GRAYSCALE", 20: "RGB", 30: "BGR", 40: "GRAYSCALE_FLOAT16"}
CHANNELS = {"GRAYSCALE": 1, "RGB": 3, "BGR": 3, "GRAYSCALE_FLOAT16": 1}

Range = tuple[int, int | None]
"""Smallest and largest length of an axis; None is unbounded."""


@dataclass(frozen=True)
class Feature:
    """One input or output.

    `kind` is "tensor", "image", "number" (a scalar), "label" (an int or str), "probabilities" (label → value) or
    "state". `shape` is the default shape, None where none is given; of an image it is (1, channels, height, width).
    An input takes any of `shapes` when there are some, else any shape within `ranges`, else `shape` alone.
    """

    name: str
    kind: str
    dtype: str
    shape: tuple[int, ...] | None = None
    shapes: tuple[tuple[int, ...], ...] = ()
    ranges: tuple[Range, ...] = ()
    colour: str | None = None
    optional: bool = False
    default: float | None = None

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of `shape` may be given."""
        if self.shapes:
            return shape in self.shapes or shape == self.shape
        if self.ranges:
            within = (
                low <= n and (high is None or n <= high) for n, (low, high) in zip(shape, self.ranges, strict=False)
            )
            return len(shape) == len(self.ranges) and all(within)
        return self.shape is None or shape == self.shape

    def expected(self) -> str:
        """The accepted shapes in words."""
        if self.shapes:
            return " or ".join("x".join(map(str, s)) for s in self.shapes)
        if self.ranges:
            spans = (str(lo) if lo == hi else f"({lo}..{'' if hi is None else hi})" for lo, hi in self.ranges)
            return "x".join(spans)
        return "any" if self.shape is None else "x".join(map(str, self.shape)) or "scalar"


@dataclass(frozen=True)
class Interface:
    """The inputs and outputs of one function, states apart."""

    inputs: tuple[Feature, ...]
    outputs: tuple[Feature, ...]
    states: tuple[Feature, ...]


def read_interface(description: Any, function: Function) -> Interface:
    """The interface of `function` from a `ModelDescription`; raises PackageError when both do not fit together."""
    own = next((f for f in description.functions if f.name == function.name), description)
    declared = {i.name: i for i in function.inputs}
    for feature in (*own.input, *own.state):
        if feature.name not in declared:
            raise PackageError(f"the description has an input {feature.name!r} that function {function.name!r} lacks")
    results = set(function.block.outputs)
    for feature in own.output:
        if feature.name not in results:
            raise PackageError(f"the description has an output {feature.name!r} that function {function.name!r} lacks")
    inputs = tuple(_feature(f, declared[f.name]) for f in own.input)
    missing = sorted(set(declared) - {f.name for f in (*own.input, *own.state)})
    if missing:
        raise PackageError(f"the input {missing[0]!r} of function {function.name!r} is not described")
    return Interface(
        inputs,
        tuple(_feature(f, None) for f in own.output),
        tuple(Feature(s.name, "state", _dtype(declared[s.name])) for s in own.state),
    )


def _feature(message: Any, variable: Variable | None) -> Feature:
    kind = message.type.WhichOneof("Type")
    optional = message.type.isOptional
    if kind == "multiArrayType":
        return _tensor(message.name, message.type.multiArrayType, optional, variable)
    if kind == "imageType":
        return _image(message.name, message.type.imageType, optional)
    if kind == "dictionaryType":
        return Feature(message.name, "probabilities", "float64", optional=optional)
    if kind in ("int64Type", "stringType") and variable is None:
        return Feature(message.name, "label", "int64" if kind == "int64Type" else "string")
    if kind in ("int64Type", "doubleType"):
        return Feature(message.name, "number", "int64" if kind == "int64Type" else "float64", optional=optional)
    raise PackageError(f"the feature {message.name!r} has the unknown type {kind!r}")


def _tensor(name: str, array: Any, optional: bool, variable: Variable | None) -> Feature:
    """A multi-dimensional array; the program's declared shape stands in where the description has none."""
    shape: tuple[int, ...] | None = tuple(array.shape)
    if not shape:
        shape = _known_shape(variable)
    flexible = array.WhichOneof("ShapeFlexibility")
    shapes, ranges = (), ()
    if flexible == "enumeratedShapes":
        shapes = tuple(tuple(s.shape) for s in array.enumeratedShapes.shapes)
    elif flexible == "shapeRange":
        ranges = tuple(_range(r) for r in array.shapeRange.sizeRanges)
    default = array.WhichOneof("defaultOptionalValue")
    return Feature(
        name,
        "tensor",
        ARRAY_TYPES.get(array.dataType, _dtype(variable)),
        shape,
        shapes,
        ranges,
        optional=optional or default is not None,
        default=getattr(array, default) if default else None,
    )


def _known_shape(variable: Variable | None) -> tuple[int, ...] | None:
    shape = variable.type.shape if variable else None
    if shape is None or None in shape:
        return None
    return tuple(n for n in shape if n is not None)


def _dtype(variable: Variable | None) -> str:
    name = variable.type.dtype.name if variable and variable.type.dtype else "fp32"
    return {"fp16": "float16", "fp32": "float32", "fp64": "float64"}.get(name, name)


def _range(message: Any) -> Range:
    return int(message.lowerBound), None if message.upperBound < 0 else int(message.upperBound)


def _image(name: str, image: Any, optional: bool) -> Feature:
    if image.colorSpace not in COLOURS:
        raise PackageError(f"the image {name!r} has the unknown colour layout {image.colorSpace}")
    colour = COLOURS[image.colorSpace]
    channels = CHANNELS[colour]
    flexible = image.WhichOneof("SizeFlexibility")
    shapes, ranges = (), ()
    if flexible == "enumeratedSizes":
        shapes = tuple((1, channels, s.height, s.width) for s in image.enumeratedSizes.sizes)
    elif flexible == "imageSizeRange":
        size = image.imageSizeRange
        ranges = ((1, 1), (channels, channels), _range(size.heightRange), _range(size.widthRange))
    shape = (1, channels, image.height, image.width)
    return Feature(name, "image", "uint8", shape, shapes, ranges, colour, optional)
