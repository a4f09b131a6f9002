"""Every rule of the lint: a small program that breaks it, and one much like it that does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fuseport.mil.features import read_interface
from fuseport.mil.lint import LEVELS, RULES, Place, findings
from fuseport.mil.lint import Program as Linted
from fuseport.mil.package import open_package
from mil_build import Program, Ref

Build = Callable[[Program], None]
A13, A14, A15 = 13, 14, 15


def one(operator: str, given: tuple[int, ...], made: tuple[int, ...], dtype: str = "fp16", **inputs: object) -> Build:
    """A program of one operation on `x`."""

    def build(program: Program) -> None:
        x = program.input("x", given, dtype)
        program.op(operator, ("y", made, dtype), x=Ref(x), **inputs)
        program.output("y", dtype)

    return build


def conv(kernel: tuple[int, ...], made: tuple[int, ...] = (1, 8, 32, 32), **inputs: object) -> Build:
    spatial = (32,) * len(kernel)
    weight = np.zeros((8, 8, *kernel), np.float16)
    return one("conv", (1, 8, *spatial), made, weight=weight, **inputs)


def pool(stride: int, made: int) -> Build:
    return one("max_pool", (1, 4, 32, 32), (1, 4, made, made), kernel_sizes=[3, 3], strides=[stride, stride])


def flexible(how: str) -> Build:
    def build(program: Program) -> None:
        one("relu", (1, 3, 32, 32), (1, 3, 32, 32))(program)
        array = program.model.description.input[0].type.multiArrayType
        if how == "ranges":
            for low, high in ((1, 8), (3, 3), (32, 32), (32, 32)):
                array.shapeRange.sizeRanges.add(lowerBound=low, upperBound=high)
        elif how == "listed":
            for size in (32, 64):
                array.enumeratedShapes.shapes.add().shape.extend((1, 3, size, size))

    return build


def palettized(stride: int) -> Build:
    def build(program: Program) -> None:
        program.input("x", (1, 4, 32, 32), "fp16")
        indices, table = np.zeros((4, 4, 3, 3), np.uint8), np.zeros((1, 1, 1, 1, 4, 1), np.float16)
        program.op(
            "constexpr_lut_to_dense",
            ("w", (4, 4, 3, 3), "fp16"),
            indices=Ref(program.const(indices, dtype="uint8")),
            lut=Ref(program.const(table, dtype="fp16")),
        )
        program.op("conv", ("y", (1, 4, 8, 8), "fp16"), x=Ref("x"), weight=Ref("w"), strides=[stride, stride])
        program.output("y", "fp16")

    return build


def computed_weight(batch: int) -> Build:
    def build(program: Program) -> None:
        program.input("x", (batch, 4, 8, 8), "fp16")
        program.input("w", (4, 4, 1, 1), "fp16")
        program.op("conv", ("y", (batch, 4, 8, 8), "fp16"), x=Ref("x"), weight=Ref("w"))
        program.output("y", "fp16")

    return build


def mixed(middle: str) -> Build:
    """Float16 but for one addition in `middle`, between casts."""

    def build(program: Program) -> None:
        program.input("x", (1, 32), "fp16")
        program.op("relu", ("a", (1, 32), "fp16"), x=Ref("x"))
        program.op("cast", ("b", (1, 32), middle), x=Ref("a"), dtype=middle)
        program.op("exp", ("c", (1, 32), middle), x=Ref("b"))
        program.op("cast", ("y", (1, 32), "fp32"), x=Ref("c"), dtype="fp32")
        program.output("y")

    return build


def power(constant: float) -> Build:
    def build(program: Program) -> None:
        program.input("e", (1, 32), "fp16")
        program.op("pow", ("y", (1, 32), "fp16"), x=np.float16(constant), y=Ref("e"))
        program.output("y", "fp16")

    return build


def quantized(operator: str) -> Build:
    def build(program: Program) -> None:
        data, scale = program.const(np.zeros((4, 8), np.int8), dtype="int8"), program.const(np.ones((4, 1), np.float16))
        program.input("x", (4, 8), "fp16")
        program.op(operator, ("w", (4, 8), "fp16"), data=Ref(data), scale=Ref(scale))
        program.op("add", ("y", (4, 8), "fp16"), x=Ref("x"), y=Ref("w"))
        program.output("y", "fp16")

    return build


def to_integers(dtype: str) -> Build:
    def build(program: Program) -> None:
        program.input("x", (1, 32), "fp16")
        program.op("cast", ("y", (1, 32), dtype), x=Ref("x"), dtype=dtype)
        program.output("y", dtype)

    return build


def attention(batch: int) -> Build:
    def build(program: Program) -> None:
        for name in "qkv":
            program.input(name, (batch, 2, 8, 32), "fp16")
        operands = {"query": Ref("q"), "key": Ref("k"), "value": Ref("v")}
        program.op("scaled_dot_product_attention", ("y", (batch, 2, 8, 32), "fp16"), **operands)
        program.output("y", "fp16")

    return build


def masked(least: float) -> Build:
    return one("add", (1, 8, 32), (1, 8, 32), y=np.full((8, 32), least, np.float16))


def average(padding: int) -> Build:
    amounts = {"kernel_sizes": [7, 7], "strides": [4, 4], "pad": [padding] * 4, "pad_type": "custom"}
    return one("avg_pool", (1, 4, 32, 32), (1, 4, 8, 8), **amounts)


def transposed(**inputs: object) -> Build:
    return one("conv_transpose", (1, 4, 8, 8), (1, 4, 16, 16), weight=np.zeros((4, 4, 2, 2), np.float16), **inputs)


def pad(axes: list[int], mode: str = "constant") -> Build:
    return one("pad", (1, 4, 8, 32), (1, 4, 10, 32), pad=axes, mode=mode, constant_val=np.float16(0))


SMALL = one("relu", (1, 8, 32, 32), (1, 8, 32, 32))
BROKEN_AND_WHOLE: dict[str, tuple[Build, Build, int]] = {
    "float32-result": (mixed("fp32"), mixed("fp16"), A13),
    "int32-cast": (to_integers("int32"), to_integers("int16"), A13),
    "minus-infinity": (masked(-np.inf), masked(-4e4), A13),
    "open-shape": (flexible("ranges"), flexible("listed"), A13),
    "enumerated-shapes": (flexible("listed"), flexible("fixed"), A13),
    "rank-above-5": (
        one("relu", (1,) * 5 + (32,), (1,) * 5 + (32,)),
        one("relu", (1,) * 4 + (32,), (1,) * 4 + (32,)),
        A13,
    ),
    "axis-too-long": (one("relu", (1, 16385), (1, 16385)), one("relu", (1, 16384), (1, 16384)), A13),
    "no-engine-path": (
        one("mod", (1, 32), (1, 32), y=np.float16(2)),
        one("floor_div", (1, 32), (1, 32), y=np.float16(2)),
        A13,
    ),
    "off-the-engine": (one("non_maximum_suppression", (1, 32), (1, 32)), SMALL, A13),
    "needs-a-later-chip": (one("sin", (1, 32), (1, 32)), one("atan", (1, 32), (1, 32)), A14),
    "software-before-a-chip": (
        one("resize_bilinear", (1, 2, 4, 32), (1, 2, 8, 64)),
        one("pixel_shuffle", (1, 8, 4, 32), (1, 2, 8, 64)),
        A13,
    ),
    "last-axis-of-one": (one("relu", (1, 3136, 1), (1, 3136, 1)), one("relu", (1, 1, 3136), (1, 1, 3136)), A13),
    "last-axis-padding": (
        one("relu", (1, 64, 14, 14), (1, 64, 14, 14)),
        one("relu", (1, 64, 16, 32), (1, 64, 16, 32)),
        A13,
    ),
    "last-axis-copied": (
        one("transpose", (1, 8, 32), (1, 32, 8), perm=[0, 2, 1]),
        one("transpose", (1, 8, 2, 32), (1, 2, 8, 32), perm=[0, 2, 1, 3]),
        A13,
    ),
    "beyond-the-cache": (
        one("relu", (1, 32, 256, 256), (1, 32, 256, 256)),
        one("relu", (1, 16, 256, 256), (1, 16, 256, 256)),
        A13,
    ),
    "kernel-too-wide": (conv((3, 14)), conv((14, 3)), A13),
    "large-kernel": (conv((9, 9)), conv((7, 7)), A13),
    "conv-stride": (
        conv((14, 14), (1, 8, 2, 2), strides=[14, 14]),
        conv((16, 16), (1, 8, 2, 2), strides=[16, 16]),
        A14,
    ),
    "palettized-stride": (palettized(4), palettized(2), A13),
    "conv-dilation": (conv((3, 3), dilations=[8, 8]), conv((3, 3), dilations=[2, 2]), A13),
    "conv-3d": (conv((3, 3, 3), (1, 8, 32, 32, 32)), conv((3, 3)), A13),
    "run-time-weight": (computed_weight(2), computed_weight(1), A13),
    "pool-stride": (pool(3, 10), pool(2, 15), A13),
    "linear-over-positions": (
        one("linear", (1, 49, 32), (1, 49, 32), weight=np.zeros((32, 32), np.float16)),
        one("linear", (1, 32), (1, 32), weight=np.zeros((32, 32), np.float16)),
        A13,
    ),
    "softmax-over-space": (
        one("softmax", (1, 8, 1, 32), (1, 8, 1, 32), axis=-1),
        one("softmax", (1, 8, 1, 32), (1, 8, 1, 32), axis=1),
        A13,
    ),
    "fused-attention": (attention(1), SMALL, A13),
    "product-of-rank-5": (
        one("matmul", (1, 2, 2, 8, 32), (1, 2, 2, 8, 32), y=np.zeros((32, 32), np.float16)),
        one("matmul", (2, 2, 8, 32), (2, 2, 8, 32), y=np.zeros((32, 32), np.float16)),
        A13,
    ),
    "arg-axis-too-long": (
        one("reduce_argmax", (1, 2049), (1, 1), axis=-1),
        one("reduce_argmax", (1, 2048), (1, 1), axis=-1),
        A13,
    ),
    "pad-off-the-plane": (pad([1, 1, 0, 0, 0, 0]), pad([0, 0, 1, 1, 0, 0]), A13),
    "mirrored-padding": (pad([1, 1, 0, 0], "reflect"), pad([1, 1, 0, 0]), A13),
    "expanded-weights": (quantized("constexpr_blockwise_shift_scale"), quantized("constexpr_lut_to_dense"), A13),
    "reported-power-of-2": (power(2.0), power(3.0), A13),
    "reported-average-pool": (average(3), average(2), A13),
    "reported-uneven-kernel": (
        conv((3, 2), (1, 8, 16, 16), strides=[2, 2], pad_type="same"),
        conv((3, 3), (1, 8, 16, 16), strides=[2, 2], pad_type="same"),
        A13,
    ),
    "reported-output-shape": (transposed(output_shape=[1, 4, 16, 16]), transposed(), A13),
    "reported-remainder": (one("mod", (1, 32), (1, 32), y=np.float16(2)), SMALL, A13),
    "reported-attention-batch": (attention(10), attention(9), A13),
    "reported-float16-output": (one("relu", (5, 13), (5, 13)), one("relu", (5, 32), (5, 32)), A13),
}
"""Rule → what breaks it, what does not, and the oldest chip that is asked for."""  # fmt: skip


def linted(build: Build, folder: Path, chip: int = A13, size: int | None = None) -> dict[str, list[Place]]:
    """The findings in the program that `build` makes, by rule."""
    program = Program(opset=8)
    build(program)
    package = open_package(program.save(folder))
    function = package.functions["main"]
    subject = Linted(function, read_interface(package.description, function).inputs, size or 1000)
    found: dict[str, list[Place]] = {}
    for rule, place in findings(subject, chip):
        found.setdefault(rule.name, []).append(place)
    return found


@pytest.mark.parametrize("name", BROKEN_AND_WHOLE)
def test_a_rule_says_no_and_yes(name: str, tmp_path: Path) -> None:
    broken, whole, chip = BROKEN_AND_WHOLE[name]
    assert name in linted(broken, tmp_path / "broken", chip)
    assert name not in linted(whole, tmp_path / "whole", chip)


def test_every_rule_is_tested_and_has_a_public_source() -> None:
    names = [rule.name for rule in RULES]
    assert sorted(names) == sorted({*BROKEN_AND_WHOLE, "package-above-1-gb"})
    for rule in RULES:
        assert rule.level in LEVELS
        assert rule.says
        assert rule.remedy
        assert rule.sources
        assert all(source.url.startswith("https://") and source.standing for source in rule.sources)


def test_the_size_of_a_package(tmp_path: Path) -> None:
    assert "package-above-1-gb" in linted(SMALL, tmp_path / "a", size=1_000_000_001)
    assert "package-above-1-gb" not in linted(SMALL, tmp_path / "b", size=1_000_000_000)


def test_an_ordinary_convolution_breaks_no_rule(tmp_path: Path) -> None:
    assert linted(conv((3, 3)), tmp_path) == {}


@pytest.mark.parametrize(("shape", "wasted"), [((1, 3136, 1), 3136 * 62), ((1, 64, 14, 14), 64 * 14 * 36)])
def test_wasted_bytes_are_those_of_padding_rows_to_64(shape: tuple[int, ...], wasted: int, tmp_path: Path) -> None:
    """Float16: a row of 1 takes 62 bytes more, one of 14 takes 36 more; x and y both lie so."""
    (places,) = (found for name, found in linted(one("relu", shape, shape), tmp_path).items() if "last-axis" in name)
    assert [(place.name, place.wasted_bytes) for place in places] == [("x", wasted), ("y", wasted)]


def test_expanded_weights_count_what_the_file_holds(tmp_path: Path) -> None:
    (place,) = linted(quantized("constexpr_blockwise_shift_scale"), tmp_path)["expanded-weights"]
    assert place.wasted_bytes == 2 * 32 - (32 + 4 * 2), "32 numbers of float16, kept as 32 of int8 and 4 scales"


@pytest.mark.parametrize("name", ["needs-a-later-chip", "software-before-a-chip", "mirrored-padding", "int32-cast"])
def test_a_newer_chip_lifts_a_limit(name: str, tmp_path: Path) -> None:
    assert name not in linted(BROKEN_AND_WHOLE[name][0], tmp_path, A15)


def test_a_program_in_float32_is_one_finding(tmp_path: Path) -> None:
    found = linted(one("relu", (1, 8, 32), (1, 8, 32), "fp32"), tmp_path)
    assert [place.message for place in found["float32-result"]] == ["all 1 float results are fp32"]


def test_strides_beside_two(tmp_path: Path) -> None:
    """Apple: beside a stride of 2 take 3, 4, 8 or 9; two large ones should be equal."""
    for strides, broken in (([2, 4], False), ([2, 6], True), ([4, 6], True), ([1, 2], False), ([1, 1], False)):
        name = "×".join(map(str, strides))
        found = linted(conv((9, 9), (1, 8, 8, 8), strides=strides), tmp_path / name)
        assert ("conv-stride" in found) == broken, strides


def test_patches_are_no_wide_kernels(tmp_path: Path) -> None:
    assert linted(conv((16, 16), (1, 8, 2, 2), strides=[16, 16]), tmp_path) == {}


def test_open_shapes_in_the_program_do_not_stop_the_lint(tmp_path: Path) -> None:
    def build(program: Program) -> None:
        program.input("x", (None, 8, 32), "fp16")
        program.op("relu", ("y", (None, 8, 32), "fp16"), x=Ref("x"))
        program.output("y", "fp16")

    assert linted(build, tmp_path) == {}
