"""Results that users reported wrong although the file is right: defects of Core ML's runtime, not of the converter.

None of them can be seen by executing the file elsewhere. Reports are of single systems and versions; some may be mended
in later ones.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .program import Program
from .rule import Place, Rule, at
from .sources import issue


def _powers(program: Program, _: int) -> Iterator[Place]:
    for made in program.of_type("pow"):
        base = np.asarray(program.constant(made, "x"))
        if base.dtype.kind in "iuf" and base.size and np.all(base == 2):
            yield at(made, "a power of the constant 2")


def _average_pools(program: Program, _: int) -> Iterator[Place]:
    for made in program.of_type("avg_pool"):
        kernel, strides = program.numbers(made, "kernel_sizes"), program.numbers(made, "strides")
        if set(kernel) == {7} and set(strides) == {4} and set(program.numbers(made, "pad")) == {3}:
            yield at(made, "average pool of 7, stride 4, padding 3")


def _uneven_kernels(program: Program, _: int) -> Iterator[Place]:
    for made in program.of_type("conv"):
        weight, strides = program.shape(made, "weight") or (), program.numbers(made, "strides")
        padded = program.constant(made, "pad_type") == "same" or any(program.numbers(made, "pad"))
        if len(weight) == 4 and weight[2] != weight[3] and set(strides) == {2} and padded and weight[0] != 1:
            yield at(made, f"kernel {weight[2]}×{weight[3]}, stride 2, padded")


def _transposed(program: Program, _: int) -> Iterator[Place]:
    for made in program.of_type("conv_transpose"):
        if "output_shape" in made.inputs:
            yield at(made, "a transposed convolution with output_shape")


def _remainders(program: Program, _: int) -> Iterator[Place]:
    return (at(made, "a remainder computed at run time") for made in program.of_type("mod"))


def _attention(program: Program, _: int) -> Iterator[Place]:
    for made in program.of_type("scaled_dot_product_attention"):
        batch = (program.shape(made, "query") or (1,))[0]
        if batch is not None and batch >= 10:
            yield at(made, f"attention of a batch of {batch}")


def _outputs(program: Program, _: int) -> Iterator[Place]:
    given = set(program.function.block.outputs)
    for tensor in program.tensors:
        rows, columns = tensor.shape if len(tensor.shape) == 2 else (0, 0)
        if tensor.name in given and tensor.dtype == "fp16" and rows >= 5 and columns > 12 and columns % 32:
            yield Place(tensor.name, tensor.operator, f"the output is {tensor}")


RULES = (
    Rule(
        "reported-power-of-2",
        "warning",
        "Reported: pow with the constant base 2 computes the square of the exponent.",
        (issue(2628),),
        "exp(y · ln 2).",
        _powers,
    ),
    Rule(
        "reported-average-pool",
        "warning",
        "Reported: an average pool of kernel 7, stride 4 and padding 3 gives wrong values on Mac and phone.",
        (issue(1901),),
        "Pad first, and pool without padding; or a depthwise convolution of constant weights.",
        _average_pools,
    ),
    Rule(
        "reported-uneven-kernel",
        "warning",
        "Reported: a kernel that is not square, with stride 2 and padding, gives a wrong value in the last corner.",
        (issue(2515),),
        "A square kernel with zeros in it, which computes the same.",
        _uneven_kernels,
    ),
    Rule(
        "reported-output-shape",
        "warning",
        "Reported: a transposed convolution with output_shape differs between units, and is shifted in float16.",
        (issue(2281), issue(2324)),
        "Without output_shape: padding that gives the size, or a slice of the result.",
        _transposed,
    ),
    Rule(
        "reported-remainder",
        "warning",
        "Reported: a remainder of a negative number computed at run time is not the one that is documented.",
        (issue(2778),),
        "x - y · floor(x / y).",
        _remainders,
    ),
    Rule(
        "reported-attention-batch",
        "warning",
        "Reported: fused attention on the GPU is wrong for a batch of 10 or more.",
        (issue(2650),),
        "A smaller batch, or a deployment target before iOS 18.",
        _attention,
    ),
    Rule(
        "reported-float16-output",
        "info",
        "Reported: a float16 output of five rows or more, not a multiple of 32 long, came back with random values.",
        (issue(1893),),
        "A float32 output, or a length that is a multiple of 32.",
        _outputs,
    ),
)
