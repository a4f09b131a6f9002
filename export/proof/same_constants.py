"""May a float16 package of any tool be held against the model with the same constants rounded (`graph_check.py`)?

That comparison is a thousand times sharper than the one with the model itself, and only fair where the file stores the
constants of our folded program: weights folded the same way, rounded once. Our own files do, and so do those that
coremltools made of a network whose batch norms it folded. Whether a file does is read off its constants: each matrix
or kernel of the program should be among them, in one of the layouts that converters use, at most FAR from it (a fault
in a weight is no reason not to look for faults). What a file keeps in float32 is read off its declared types.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram

from ... import mil
from ...mil.program import Variable
from ..artifact import Artifact, NotConverted, NotRun, in_one_line
from ..lowering.legalize import legalized
from ..saved.opened import compressed
from .layer_parity import SUFFIXES

FAR = 0.2
"""Relative L2 distance up to which a stored constant counts as the program's: far above a rounding or a wrong channel,
far below that of another weight."""

ENOUGH = 0.5
"""Share of the program's constants that must be found. Some are always made into something else (a table of positions
that is looked up once), and one that is wrong from end to end must still be looked at."""

PLACES = 4096
"""Values of a constant that are compared."""

PASSIVE = ("const", "cast")
"""Operations that say nothing of the precision around them."""


def kept_wide(artifact: Artifact, program: ExportedProgram) -> tuple[str, ...] | NotRun:
    """The nodes of the legalized `program` that the float16 package keeps in float32; usually none.

    NotRun, with the reason, where the package is not to be held against the program with its constants rounded.
    """
    how = compressed(artifact)
    if how is not None:
        return NotRun(f"its weights are compressed ({how})")
    model = mil.load(artifact.path)
    try:
        legal = legalized(program, precision="float16")
    except NotConverted as error:
        return NotRun(f"the model has no form that Core ML takes: {in_one_line(error)}")
    wide = list(_wide(model))
    names = {node.name for node in legal.graph.nodes}
    kept = tuple(name for name in dict.fromkeys(SUFFIXES.sub("", name) for name in wide) if name in names)
    if wide and not kept:
        return NotRun(f"which of the model's operators the {len(wide)} are that it keeps in float32 cannot be told")
    stored = _stored(model)
    paired = [_is_among(value, stored) for value in _held(legal)]
    if sum(paired) < ENOUGH * len(paired):
        return NotRun(f"only {sum(paired)} of the model's {len(paired)} weights are stored as they are folded here")
    return kept


def _wide(model: mil.Model) -> Iterator[str]:
    """The operations that give float32, but for those that a picture goes through on its way in (scale and bias)."""
    ahead = {given.name for given in model.inputs if given.kind == "image"}
    constant = {made.name for made in model.function.block.operations if made.type == "const"}
    for made in model.function.block.operations:
        if made.type in PASSIVE or not any(map(_is_float32, made.outputs)):
            continue
        if set(made.reads()) - constant <= ahead:
            ahead.add(made.name)
        else:
            yield made.name


def _is_float32(given: Variable) -> bool:
    return given.type.dtype is not None and given.type.dtype.name == "fp32"


def _held(program: ExportedProgram) -> Iterator[NDArray]:
    """The matrices and kernels of the program, one after the other."""
    for held in {**program.constants, **program.state_dict}.values():
        if isinstance(held, torch.Tensor) and held.is_floating_point() and held.ndim >= 2:
            yield held.detach().numpy()


def _stored(model: mil.Model) -> dict[int, list[NDArray]]:
    """Number of values → sketches of the float constants of the package that have so many."""
    found: dict[int, list[NDArray]] = defaultdict(list)
    for made in model.function.block.walk():
        if made.type == "const" and (kind := made.outputs[0].type).dtype is not None and kind.dtype.is_float:
            value = made.attributes["val"].read()
            if isinstance(value, np.ndarray) and value.ndim >= 1:
                found[value.size].append(_sketch(value))
    return found


def _is_among(value: NDArray, stored: dict[int, list[NDArray]]) -> bool:
    """Whether a constant of the package is `value` in one of its layouts, give or take FAR."""
    return any(
        float(np.linalg.norm(sketch - other)) <= FAR * float(np.linalg.norm(sketch))
        for sketch in map(_sketch, _layouts(value))
        for other in stored.get(value.size, ())
    )


def _layouts(value: NDArray) -> Iterator[NDArray]:
    yield value
    yield value.swapaxes(0, 1)
    if value.ndim > 2:
        yield value.swapaxes(-1, -2)


def _sketch(value: NDArray) -> NDArray:
    """PLACES of the values, evenly spread, as float32."""
    flat = np.ravel(value)
    return flat[np.linspace(0, flat.size - 1, min(PLACES, flat.size)).astype(int)].astype(np.float32)
