"""Attention and layers over positions: the layout (batch, channels, 1, positions), head by head."""

from __future__ import annotations

from collections.abc import Iterator

from .program import Program
from .rule import Place, Rule, at
from .sources import APPLE_RULES, APPLE_TRANSFORMERS, GUIDE


def _linear(program: Program, _: int) -> Iterator[Place]:
    for made in program.of_type("linear"):
        shape = program.shape(made, "x") or ()
        if len(shape) > 2:
            yield at(made, f"linear over {'×'.join(map(str, shape))}")


def _softmax(program: Program, _: int) -> Iterator[Place]:
    for made in program.of_type("softmax"):
        rank = len(program.shape(made, "x") or ())
        if rank > 2 and (axis := program.axis(made) % rank) >= rank - 2:
            yield at(made, f"softmax over {'width' if axis == rank - 1 else 'height'}")


def _fused(program: Program, _: int) -> Iterator[Place]:
    for made in program.of_type("scaled_dot_product_attention"):
        shape = program.shape(made, "query") or ()
        yield at(made, f"attention over a query of {'×'.join(map(str, shape))}")


RULES = (
    Rule(
        "linear-over-positions",
        "warning",
        "Apple's guidance: a linear layer is broken up into less efficient operators that may fall back to the CPU, a "
        "1×1 convolution on (B, C, 1, S) maps to the convolution engine. Reverse engineering found linear native.",
        (APPLE_RULES, APPLE_TRANSFORMERS, GUIDE),
        "A 1×1 convolution on (B, C, 1, S) or (B, C, H, W) with the weight viewed as (out, in, 1, 1).",
        _linear,
        "Exports do it, exactly, where the positions are those of a map and become one again (rule token-map).",
    ),
    Rule(
        "softmax-over-space",
        "info",
        "Apple's guidance: a softmax over height or width keeps the compiler from dividing the work along it, which "
        "matters for large tensors; over channels it does not.",
        (APPLE_RULES, APPLE_TRANSFORMERS),
        "Attention head by head with keys as channels (einsum bchq,bkhc->bkhq), softmax over them.",
        _softmax,
    ),
    Rule(
        "fused-attention",
        "info",
        "Apple's guidance: the engine has no fused attention of several heads; compute each head. Reverse engineering "
        "found the operator native from the M1 on: measure it.",
        (APPLE_RULES, GUIDE),
        "One head at a time, or a deployment target before iOS 18, for which attention is written out.",
        _fused,
    ),
)
