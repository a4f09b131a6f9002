"""How MIL's `pad_type` and `pad` become amounts before and after each spatial axis (shared by conv and pool).

`valid` pads nothing, `custom` takes `pad` = (before, after) per axis. `same` makes the output ceil(n / stride) long and
puts the odd element after, `same_lower` before.
"""

from __future__ import annotations

from math import ceil

from .operator import Ints

Pads = list[tuple[int, int]]


def pads(pad_type: str, pad: Ints | None, size: Ints, kernel: Ints, strides: Ints, dilations: Ints) -> Pads:
    """(before, after) for each spatial axis; raises ValueError for an unknown `pad_type`."""
    if pad_type == "valid":
        return [(0, 0)] * len(size)
    if pad_type == "custom":
        given = pad or (0,) * (2 * len(size))
        return [(given[2 * i], given[2 * i + 1]) for i in range(len(size))]
    if pad_type not in ("same", "same_lower"):
        raise ValueError(f"unknown pad_type {pad_type!r}; known: valid, custom, same, same_lower")
    result = []
    for n, k, s, d in zip(size, kernel, strides, dilations, strict=True):
        total = max(0, (ceil(n / s) - 1) * s + (k - 1) * d + 1 - n)
        less, more = total // 2, total - total // 2
        result.append((more, less) if pad_type == "same_lower" else (less, more))
    return result


def flat(amounts: Pads) -> list[int]:
    """The order that `torch.nn.functional.pad` wants: last axis first."""
    return [n for pair in reversed(amounts) for n in pair]
