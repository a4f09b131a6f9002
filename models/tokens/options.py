"""The checks of a method's options, each refusing with one line that says the allowed range."""

from __future__ import annotations

import math
from collections.abc import Iterable


def whole(name: str, value: object, lowest: int, highest: int, why: str = "") -> int:
    """value, if it is an integer from lowest to highest.

    Raises ValueError otherwise; `why` explains the range, such as "the network has 24 layers".
    """
    if isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest:
        return value
    raise ValueError(f"{name} must be a whole number from {lowest} to {highest}{_because(why)}; got {value!r}")


def share(name: str, value: object) -> float:
    """value, if it is above 0 and at most 1; raises ValueError otherwise."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1:
        return float(value)
    raise ValueError(f"{name} must be above 0 and at most 1; got {value!r}")


def between(name: str, value: object, lowest: float, highest: float) -> float:
    """value, if it is a number from lowest to highest; raises ValueError otherwise."""
    if isinstance(value, int | float) and not isinstance(value, bool) and lowest <= value <= highest:
        return float(value)
    raise ValueError(f"{name} must be a number from {lowest:g} to {highest:g}; got {value!r}")


def positive(name: str, value: object) -> float:
    """value, if it is a finite number above 0; raises ValueError otherwise."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 and math.isfinite(value):
        return float(value)
    raise ValueError(f"{name} must be a finite number above 0; got {value!r}")


def switch(name: str, value: object) -> bool:
    """value, if it is True or False; raises ValueError otherwise."""
    if isinstance(value, bool):
        return value
    raise ValueError(f"{name} must be true or false; got {value!r}")


def one_of(name: str, value: object, known: tuple[str, ...]) -> str:
    """value, if it is one of the known words; raises ValueError otherwise."""
    if isinstance(value, str) and value in known:
        return value
    raise ValueError(f"{name} must be {' or '.join(known)}; got {value!r}")


def layers(name: str, value: object, depth: int) -> tuple[int, ...]:
    """Layer numbers, ascending, from a sequence or text such as "6,12,18"; raises ValueError outside 0..depth-1."""
    checked = [whole(name, one, 0, depth - 1, f"the network has {depth} layers") for one in numbers(value)]
    if not checked or len(set(checked)) != len(checked):
        raise ValueError(f"{name} must list layers from 0 to {depth - 1}, each once, such as 3,6,9; got {value!r}")
    return tuple(sorted(checked))


def span(first: object, last: object, depth: int) -> range:
    """The layers first..last-1; last -1 means to the end. Raises ValueError outside the network, or if none is left."""
    why = f"the network has {depth} layers"
    start = whole("first_layer", first, 0, depth - 1, why)
    if last == -1:
        return range(start, depth)
    return range(start, whole("last_layer", last, start + 1, depth, f"{why}; -1 is the end"))


def numbers(value: object) -> list[object]:
    """The numbers of a sequence, or of text such as "6,12,18", or the one number; what is no number stays as it is."""
    if isinstance(value, str):
        parts = [part.strip() for part in value.split(",")]
        return [int(part) if part.lstrip("-").isdigit() else part for part in parts]
    return list(value) if isinstance(value, Iterable) else [value]


def _because(why: str) -> str:
    return f" ({why})" if why else ""
