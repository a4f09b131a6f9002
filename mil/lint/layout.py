"""How tensors lie in memory: the last axis is the engine's width, and each of its rows is padded to 64 bytes.

A tensor of n rows of w elements of b bytes takes n · ⌈w·b / 64⌉ · 64 bytes instead of n·w·b: at float16 a last axis of
one takes 32 times its size. What is counted here is the sum over all such tensors; the compiler may keep some of them
in its cache in another form, which no file tells.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from .program import Program, Tensor
from .rule import Place, Rule, at
from .sources import APPLE_RULES, APPLE_TRANSFORMERS, GUIDE

ROW = 64
"""Bytes to which a row along the last axis is padded."""

LEAST = 16384
"""A waste of fewer bytes than this is not reported. The threshold is ours."""

CACHE = 2 << 20
"""Bytes of the on-chip memory, as measured by the reverse-engineered guide."""


def _wasted(tensor: Tensor) -> int:
    if not tensor.shape:
        return 0
    used = tensor.shape[-1] * tensor.bits // 8
    return math.prod(tensor.shape[:-1]) * (-used % ROW)


def _padded(tensor: Tensor, wasted: int) -> Place:
    times = (tensor.bytes + wasted) / max(tensor.bytes, 1)
    return Place(tensor.name, tensor.operator, f"{tensor} is padded to {times:.1f} times its size", wasted)


def _of_one(program: Program, _: int) -> Iterator[Place]:
    for tensor in program.tensors:
        if (wasted := _wasted(tensor)) >= LEAST and tensor.shape[-1] == 1:
            yield _padded(tensor, wasted)


def _of_more(program: Program, _: int) -> Iterator[Place]:
    for tensor in program.tensors:
        if (wasted := _wasted(tensor)) >= LEAST and tensor.shape[-1] > 1:
            yield _padded(tensor, wasted)


def _moved(program: Program, _: int) -> Iterator[Place]:
    """Transposes that move the last axis, and reshapes that change its length."""
    for made in program.of_type("transpose", "reshape"):
        before, after = program.shape(made, "x"), program.made_shape(made)
        if not before or not after or max(n or 0 for n in after) <= 1:
            continue
        moves = program.numbers(made, "perm")
        if made.type == "transpose" and moves and moves[-1] % len(moves) != len(moves) - 1:
            yield at(made, f"moves the last axis of {_told(before)}")
        elif made.type == "reshape" and before[-1] != after[-1] and None not in (before[-1], after[-1]):
            yield at(made, f"changes the last axis: {_told(before)} to {_told(after)}")


def _large(program: Program, _: int) -> Iterator[Place]:
    for tensor in program.tensors:
        if tensor.bytes > CACHE:
            yield Place(tensor.name, tensor.operator, f"{tensor} has {tensor.bytes / 2**20:.1f} MiB")


def _told(shape: tuple[int | None, ...]) -> str:
    return "×".join("?" if size is None else str(size) for size in shape)


RULES = (
    Rule(
        "last-axis-of-one",
        "warning",
        "Apple's guidance: never let the last axis be a single element. Each row along it is padded to 64 bytes, which "
        "takes 32 times the memory at float16; tensors that stay in the cache may be spared.",
        (APPLE_RULES, APPLE_TRANSFORMERS, GUIDE),
        "Keep the long axis last: scores of N positions as 1×N or as a map 1×H×W, not as N×1; a linear layer to one "
        "value over positions as a 1×1 convolution.",
        _of_one,
        "Exports do it where the positions are those of a map, as in SwiftFormer's additive attention (rule "
        "token-map): the scores are a 1×H×W map then, of the same weights, exactly.",
    ),
    Rule(
        "last-axis-padding",
        "info",
        "Apple's guidance: give the last axis at least 64 bytes (32 elements of float16), better a power of two; rows "
        "that are no multiple of 64 bytes are padded to one.",
        (APPLE_RULES,),
        "Sizes of pictures and maps that are multiples of 32 where the network allows it.",
        _of_more,
    ),
    Rule(
        "last-axis-copied",
        "info",
        "Apple's guidance: transposes and reshapes that touch the last axis rewrite the whole tensor in memory; the "
        "compiler takes out some of them, not all.",
        (APPLE_RULES, APPLE_TRANSFORMERS),
        "Stay in one layout, (B, C, H, W) or (B, C, 1, S), and write linear layers over positions as 1×1 convolutions.",
        _moved,
        "Exports leave layers over the positions of a map on the map, without transposes (rule token-map), and fold "
        "parts of a split that are all reshaped alike into one reshape (rule late-split).",
    ),
    Rule(
        "beyond-the-cache",
        "info",
        "Measured by reverse engineering: a tensor above 2 MiB does not stay on the chip; it is computed in tiles that "
        "go through memory. The result is the same.",
        (GUIDE,),
        "A smaller picture, fewer channels where maps are largest, or attention head by head.",
        _large,
    ),
)
