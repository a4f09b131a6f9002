"""How far apart the answers of two files are on the same seeded inputs: each run by an engine that is here.

ONNX files are run by ONNX Runtime, Core ML packages by our executor as the program declares them (rounding included).
The inputs are made for the first file and brought into the form that the second takes: other names, other layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...validate.parity import finite_number, predict
from ...validate.pictures import pictures, pictures_uint8
from ..artifact import Artifact, NotRun, TensorSpec, in_one_line
from ..recheck.mapping import MappingError, bridge, renamed
from ..saved.engines import Engine, engines
from .weights import relative_distance

SAMPLES = 2
RANKED = 5
"""An output (N, classes) of at least so many classes has a first class to compare."""

Values = dict[str, NDArray]


@dataclass(frozen=True)
class OutputDistance:
    """One output of both files: largest absolute difference, ||b - a|| / ||a||, share of samples with the same first
    class (None where there are no classes). None for what is no number."""

    name: str
    max_abs: float | None
    relative_l2: float | None
    top1: float | None


@dataclass(frozen=True)
class Answers:
    """The distances, and what was run on what."""

    engines: tuple[str, str]
    samples: int
    seed: int
    outputs: tuple[OutputDistance, ...]


def answers(a: Artifact, b: Artifact, *, seed: int = 0) -> Answers | NotRun:
    """Run both. NotRun with the reason where an engine, or a way from the one's inputs to the other's, is missing."""
    first, second = engines(a)[-1 if len(engines(a)) < 3 else 1], engines(b)[-1 if len(engines(b)) < 3 else 1]
    try:
        feed = {given.name: _made(given, seed + at) for at, given in enumerate(a.inputs)}
        made = _run(first, a, feed)
        other = _run(second, b, _feed_of(a, b, feed))
    except MappingError:
        return NotRun(f"their inputs do not fit each other: {_told(a.inputs)}, beside {_told(b.inputs)}")
    except _NotRunHere as error:
        return NotRun(str(error))
    try:
        other = renamed(b, other, made, {})
    except MappingError:
        return NotRun(f"their outputs do not fit each other: {_told(a.outputs)}, beside {_told(b.outputs)}")
    shared = [name for name in made if name in other]
    if not shared:
        return NotRun(f"they have no output of the same name or shape: {', '.join(made)}; {', '.join(other)}")
    found = tuple(_distance(name, made[name], other[name]) for name in shared)
    return Answers((first.name, second.name), SAMPLES, seed, found)


def _told(specs: Sequence[TensorSpec]) -> str:
    return " and ".join(f"{spec.name} {spec.dtype} ({', '.join(map(str, spec.shape))})" for spec in specs) or "nothing"


class _NotRunHere(ValueError):
    """A file that no engine here runs; the message says why."""


def _run(engine: Engine, artifact: Artifact, feed: Values) -> Values:
    run = engine.open()
    if isinstance(run, NotRun):
        raise _NotRunHere(f"{artifact.path.name}: {run.reason}")
    sizes = [given.shape[0] for given in artifact.inputs if given.shape and isinstance(given.shape[0], int)]
    try:
        return predict(run, feed, batch=sizes[0] if sizes else None)
    except Exception as error:  # each backend has errors of its own, and a file of another tool may raise any of them
        raise _NotRunHere(f"{artifact.path.name}: {engine.name} cannot run it: {in_one_line(error)}") from error


def _made(given: TensorSpec, seed: int) -> NDArray:
    """Seeded values for one input: pictures where it takes pictures, else normal or small whole numbers."""
    shape = tuple(size if isinstance(size, int) else 1 for size in given.shape)
    if given.kind == "image" and len(shape) == 4:
        last = shape[3] in (1, 3)
        channels, height, width = (shape[3], shape[1], shape[2]) if last else shape[1:]
        made = pictures_uint8(SAMPLES, height, width, seed=seed, channels=channels)
        return made.transpose(0, 2, 3, 1) if last else made
    kind = np.dtype(given.dtype if given.dtype != "unknown" else "float32")
    if kind.kind == "f" and len(shape) == 4 and shape[1] in (1, 3):
        return (4 * pictures(SAMPLES, *shape[2:], seed=seed, channels=shape[1]) - 2).astype(kind)
    stream = np.random.default_rng(seed)
    whole = kind.kind in "iub"
    values = stream.integers(0, 2, (SAMPLES, *shape[1:])) if whole else stream.standard_normal((SAMPLES, *shape[1:]))
    return values.astype(kind)


def _feed_of(a: Artifact, b: Artifact, feed: Values) -> Values:
    """`feed`, which is the first file's, as the second takes it."""
    pictures = [any(given.kind == "image" for given in artifact.inputs) for artifact in (a, b)]
    if pictures[0] != pictures[1]:
        raise _NotRunHere("one takes pictures of 0..255, the other normalised tensors: export both in the same way")
    return bridge(b, feed, {}).feed(feed)


def _distance(name: str, a: NDArray, b: NDArray) -> OutputDistance:
    if a.shape != b.shape:
        if a.size != b.size:
            return OutputDistance(name, None, None, None)
        b = b.reshape(a.shape)
    first, second = a.astype(np.float64), b.astype(np.float64)
    ranked = a.ndim == 2 and a.shape[1] >= RANKED
    top1 = float(np.mean(first.argmax(1) == second.argmax(1))) if ranked else None
    return OutputDistance(
        name, finite_number(np.abs(second - first).max(initial=0)), relative_distance(first, second), top1
    )
