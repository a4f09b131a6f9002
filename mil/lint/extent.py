"""Shapes and sizes that the engine takes: fixed shapes, few axes, axes of bounded length, packages of bounded size."""

from __future__ import annotations

from collections.abc import Iterator

from .program import Program
from .rule import Place, Rule
from .sources import APPLE_FLEXIBLE, APPLE_RULES, APPLE_UTILITIES, GUIDE

RANK = 5
WIDTH, WIDTH_FROM_A16, CHANNELS = 16384, 65536, 65536
LARGEST = 1_000_000_000


def _open(program: Program, _: int) -> Iterator[Place]:
    for given in program.inputs:
        if not given.shapes and any(low != high for low, high in given.ranges):
            yield Place(given.name, "input", f"takes {given.expected()}")


def _enumerated(program: Program, _: int) -> Iterator[Place]:
    for given in program.inputs:
        if given.shapes:
            yield Place(given.name, "input", f"takes {len(given.shapes)} shapes")


def _rank(program: Program, _: int) -> Iterator[Place]:
    for tensor in program.tensors:
        if len(tensor.shape) > RANK:
            yield Place(tensor.name, tensor.operator, f"{tensor} has {len(tensor.shape)} axes")


def _long(program: Program, chip: int) -> Iterator[Place]:
    """The last two axes are width and height; an axis in front of them is bounded as channels are."""
    plane = WIDTH if chip < 16 else WIDTH_FROM_A16
    for tensor in program.tensors:
        limits = [plane if axis >= len(tensor.shape) - 2 else CHANNELS for axis in range(len(tensor.shape))]
        beyond = [(size, limit) for size, limit in zip(tensor.shape, limits, strict=True) if size > limit]
        if beyond:
            size, limit = beyond[0]
            yield Place(tensor.name, tensor.operator, f"{tensor} has an axis of {size:,}; the limit is {limit:,}")


def _heavy(program: Program, _: int) -> Iterator[Place]:
    if program.bytes > LARGEST:
        yield Place("", "package", f"{program.bytes / 1e9:.2f} GB")


RULES = (
    Rule(
        "open-shape",
        "error",
        "Apple's guidance: the engine takes fully fixed shapes. With a range only the default shape runs there, unless "
        "the app says (from iOS 17.4) that shapes change rarely.",
        (APPLE_RULES, APPLE_FLEXIBLE),
        "One fixed shape, or a list of shapes (EnumeratedShapes).",
        _open,
        "export-model without --dynamic-batch writes a fixed shape.",
    ),
    Rule(
        "enumerated-shapes",
        "info",
        "Apple's guidance: up to 128 listed shapes are each optimised on the device; a fixed shape is still the "
        "simplest case for the engine.",
        (APPLE_FLEXIBLE,),
        "As few shapes as the app needs.",
        _enumerated,
    ),
    Rule(
        "rank-above-5",
        "error",
        "Apple's guidance: tensors of more than 5 axes are rejected.",
        (APPLE_RULES, GUIDE),
        "Merge axes, or drop those of length one.",
        _rank,
    ),
    Rule(
        "axis-too-long",
        "error",
        "Measured by reverse engineering: width and height up to 16,384 (65,536 from the A16 on), channels up to "
        "65,536; one more is rejected.",
        (GUIDE,),
        "Fold a long axis into two.",
        _long,
    ),
    Rule(
        "package-above-1-gb",
        "warning",
        "Apple's guidance: a model above 1 GB may not load on the engine of an iPhone; split it in two.",
        (APPLE_UTILITIES,),
        "Compress the weights, or coremltools' bisect_model.",
        _heavy,
    ),
)
