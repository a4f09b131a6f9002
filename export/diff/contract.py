"""What a file does to its inputs before anything else: type, layout, colours, and the affine map y = scale · x + bias.

The map is read from the program itself, not from a description: the chain of casts, transpositions, products and sums
with constants that begins at an input and has no other reader. So a division by 255 in one file and a product with
0.003922 in the other agree, whatever the nodes are called.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .contents import Contents, Node, told

CHANNELS = 16
"""A constant of more elements is no preprocessing."""


@dataclass(frozen=True)
class Contract:
    """One input: what it is declared as, and what is done to it (`scale` and `bias` one number, or one per channel)."""

    name: str
    declared: str
    layout: str
    """The order of axes that the program turns the input to, as in '[0, 3, 1, 2]'; empty if it leaves them."""
    scale: str
    bias: str


def contracts(contents: Contents) -> tuple[Contract, ...]:
    """The contract of every input, in the file's order."""
    return tuple(
        _contract(contents, given.name, contents.features.get(given.name, given.kind))
        for given in contents.artifact.inputs
    )


def _contract(contents: Contents, name: str, declared: str) -> Contract:
    scale, bias, layout = np.ones(1), np.zeros(1), ""
    value = name
    while (node := _only_reader(contents, value)) is not None:
        step = _step(contents, node, value)
        if step is None:
            break
        factor, offset, turn = step
        scale, bias, layout = scale * factor, bias * factor + offset, turn or layout
        value = node.outputs[0]
    return Contract(name, declared, layout, _told(scale), _told(bias))


def _told(numbers: NDArray[np.float64]) -> str:
    """One number where all channels have the same; four digits, which float16 can keep apart from rounding."""
    flat = [float(f"{number:.3g}") for number in np.unique(numbers)] if np.ptp(numbers) == 0 else None
    return told(flat[0]) if flat else told([float(f"{number:.3g}") for number in numbers])


def _only_reader(contents: Contents, value: str) -> Node | None:
    if value in {made.name for made in contents.artifact.outputs}:
        return None
    readers = [node for node in contents.nodes if any(name == value for _, name in node.inputs)]
    return readers[0] if len(readers) == 1 and readers[0].outputs else None


def _step(contents: Contents, node: Node, value: str) -> tuple[NDArray, NDArray, str] | None:
    """Factor, offset and transposition of one node of the chain; None where the chain ends."""
    one, none = np.ones(1), np.zeros(1)
    if node.kind in ("cast", "identity"):
        return one, none, ""
    if node.kind == "transpose":
        return one, none, dict(node.settings).get("perm", "")
    names = [name for _, name in node.inputs if name in contents.constants]
    numbers = [contents.constants[name] for name in names]
    if node.kind not in ("mul", "add", "sub", "real_div") or len(numbers) != 1 or numbers[0].elements > CHANNELS:
        return None
    constant = numbers[0].read().astype(np.float64).ravel()
    first = node.inputs[0][1] == value
    if node.kind == "mul":
        return constant, none, ""
    if node.kind == "add":
        return one, constant, ""
    if node.kind == "sub":
        return (one, -constant, "") if first else (-one, constant, "")
    return (1 / constant, none, "") if first and np.all(constant) else None
