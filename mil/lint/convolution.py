"""Convolutions and pooling: the kernels, strides and dilations that the engine takes, and those it takes well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..program import Operation
from .program import Program
from .rule import Place, Rule, at
from .sources import APPLE_RULES, GUIDE, NOTES

LARGE = 9
"""Apple's example of a kernel to split is 9×9."""

BESIDE_TWO = (1, 2, 3, 4, 8, 9)
"""What the other stride may be where one is 2 (1 is no stride)."""

POOL_STRIDES = (1, 2, 4)


@dataclass(frozen=True)
class _Convolution:
    """`kernel`, `strides` and `dilations` over the spatial axes, height before width."""

    made: Operation
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]


def _convolutions(program: Program) -> Iterator[_Convolution]:
    for made in program.of_type("conv"):
        weight = program.shape(made, "weight")  # (out, in/groups, *kernel)
        if weight is not None and None not in weight:
            kernel = tuple(size or 0 for size in weight[2:])
            once = (1,) * len(kernel)
            yield _Convolution(
                made, kernel, program.numbers(made, "strides", once), program.numbers(made, "dilations", once)
            )


def _too_wide(program: Program, chip: int) -> Iterator[Place]:
    width, height = (13, 29) if chip < 14 else (16, 32)
    for found in _convolutions(program):
        too_wide = len(found.kernel) == 2 and (found.kernel[1] > width or found.kernel[0] > height)
        if too_wide and _overlaps(found):
            yield at(found.made, f"kernel {_told(found.kernel)}; at float16 at most {height} high and {width} wide")


def _overlaps(found: _Convolution) -> bool:
    """Whether windows share pixels. Those of patches do not: a rearrangement and a product, for which no source gives
    a limit (the limits of kernels were measured at stride 1)."""
    return any(step < size for step, size in zip(found.strides, found.kernel, strict=False))


def _large(program: Program, chip: int) -> Iterator[Place]:
    rejected = {place.name for place in _too_wide(program, chip)}
    for found in _convolutions(program):
        if max(found.kernel, default=0) >= LARGE and _overlaps(found) and found.made.name not in rejected:
            yield at(found.made, f"kernel {_told(found.kernel)}")


def _strides(program: Program, _: int) -> Iterator[Place]:
    for found in _convolutions(program):
        odd = [step for step in found.strides if not _of_two_and_three(step)]
        if odd:
            yield at(found.made, f"stride {_told(found.strides)}: {odd[0]} has a prime factor other than 2 and 3")
        elif _uneven(found.strides):
            yield at(found.made, f"stride {_told(found.strides)} differs along the axes")


def _of_two_and_three(number: int) -> bool:
    for prime in (2, 3):
        while number > 1 and number % prime == 0:
            number //= prime
    return number == 1


def _uneven(strides: tuple[int, ...]) -> bool:
    low, high = min(strides, default=1), max(strides, default=1)
    return (low == 2 and high not in BESIDE_TWO) or (2 < low < high)


def _palettized(program: Program, _: int) -> Iterator[Place]:
    for found in _convolutions(program):
        holder = program.holder(found.made, "weight")
        if holder is not None and holder.type.startswith("constexpr_lut") and max(found.strides, default=1) > 2:
            yield at(found.made, f"stride {_told(found.strides)} with palettized weights")


def _dilations(program: Program, _: int) -> Iterator[Place]:
    for found in _convolutions(program):
        if max(found.dilations, default=1) > 3:
            yield at(found.made, f"dilation {_told(found.dilations)}")


def _three_axes(program: Program, _: int) -> Iterator[Place]:
    return (
        at(found.made, f"kernel {_told(found.kernel)}") for found in _convolutions(program) if len(found.kernel) > 2
    )


def _run_time_weights(program: Program, _: int) -> Iterator[Place]:
    for made in program.of_type("conv"):
        batch = (program.shape(made, "x") or (1,))[0]
        if batch != 1 and not program.is_stored(made, "weight"):
            yield at(made, f"the weight is computed, and the batch is {'open' if batch is None else batch}")


def _pools(program: Program, _: int) -> Iterator[Place]:
    """A pool whose result is one position steps nowhere."""
    for made in program.of_type("max_pool", "avg_pool", "l2_pool"):
        kernel = program.numbers(made, "kernel_sizes")
        strides = program.numbers(made, "strides", (1,) * len(kernel))
        steps = [
            step
            for step, size in zip(strides, program.made_shape(made)[2:], strict=False)
            if size != 1 and step not in POOL_STRIDES
        ]
        if steps:
            yield at(made, f"stride {_told(strides)}")


def _told(sizes: tuple[int, ...]) -> str:
    return "×".join(map(str, sizes))


RULES = (
    Rule(
        "kernel-too-wide",
        "error",
        "Reverse engineering: at float16 a kernel is at most 13 wide and 29 high on the A13 and M1, 16 and 32 after. "
        "Patches, whose windows do not overlap, are left out here: the limits were measured at stride 1.",
        (GUIDE,),
        "Two kernels in a row, k = k1 + k2 - 1, or the image rearranged (space to depth) before a smaller one.",
        _too_wide,
    ),
    Rule(
        "large-kernel",
        "warning",
        "Apple's guidance: large kernels are expensive, most of all in width; its example replaces 9×9 by two of 5×5, "
        "which needs training anew.",
        (APPLE_RULES,),
        "Smaller kernels in a row with the same field of view.",
        _large,
    ),
    Rule(
        "conv-stride",
        "warning",
        "Apple's guidance: strides of factors 2 and 3 map well (4, 6, 8, 9, 12, 16 …), others add overhead; beside a 2 "
        "use 3, 4, 8 or 9, and avoid large strides that differ. Reverse engineering: other strides are decomposed.",
        (APPLE_RULES, GUIDE),
        "A patch of 12 or 16 in place of 14, with training anew; or space to depth and a 1×1 convolution.",
        _strides,
    ),
    Rule(
        "palettized-stride",
        "warning",
        "Apple's guidance: with palettized kernels strides are taken up to 2 only.",
        (APPLE_RULES,),
        "Leave this layer out of the palettization.",
        _palettized,
    ),
    Rule(
        "conv-dilation",
        "warning",
        "Apple's guidance: large dilations are expensive; chain dilations of 2 and 3. Developers' notes list dilated "
        "convolutions among what does not run on the engine, as a guess.",
        (APPLE_RULES, NOTES),
        "A chain of convolutions with dilations of 2 and 3, with training anew.",
        _dilations,
    ),
    Rule(
        "conv-3d",
        "error",
        "Reverse engineering: convolutions over three axes are advertised, and rejected on every generation.",
        (GUIDE,),
        "Two-dimensional convolutions, one axis folded into the channels or the batch.",
        _three_axes,
    ),
    Rule(
        "run-time-weight",
        "error",
        "Reverse engineering: a convolution whose weight is computed compiles for a batch of one only.",
        (GUIDE,),
        "A batch of one, or a product of matrices.",
        _run_time_weights,
    ),
    Rule(
        "pool-stride",
        "warning",
        "Apple's guidance: pool with a stride of 2 or 4; others add overhead.",
        (APPLE_RULES,),
        "Stride 2 or 4.",
        _pools,
    ),
)
