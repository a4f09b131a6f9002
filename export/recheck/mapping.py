"""Which input of a file is which of the model's, and which output: by name, by shape, or as the user says.

A file of another tool calls its tensors what it likes, and may take a picture as (N, H, W, C). A file's tensor can
stand for a model's if the sizes agree in one of the layouts and both hold the same kind of numbers. Equal names are
joined first; what is left is joined if there is exactly one way to do it. Otherwise the user is asked, with both lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..artifact import Artifact, TensorSpec
from ..formats.to_coreml import NAME as COREML

Values = dict[str, NDArray]
Axes = tuple[int, ...]

LAYOUTS: tuple[Axes, ...] = ((0, 1, 2, 3), (0, 3, 1, 2), (0, 2, 3, 1))
"""Orders in which a file may take the axes of a feed of rank 4: as it is, from NHWC to NCHW, from NCHW to NHWC."""

COLOURS = (1, 3)
"""Channels of a picture: grey, or three colours."""

RANGES = {"normalised": None, "0..1": 1 / 255, "0..255": 1.0}
"""What a file's float picture input takes → the factor on pixels of 0..255; None where the caller normalises."""


class MappingError(ValueError):
    """The tensors of a file cannot be joined to the model's; the message names both lists and the next step."""


@dataclass(frozen=True)
class Wire:
    """One input of the file: the feed that goes in, its axes in the file's order, the factor on it, and the dtype."""

    feed: str
    axes: Axes
    scale: float
    dtype: str

    def carry(self, values: NDArray) -> NDArray:
        """`values` (N, …) as the file takes them."""
        turned = values.transpose(self.axes)
        scaled = turned if self.scale == 1 else turned * np.float32(self.scale)
        return np.ascontiguousarray(scaled.astype(self.dtype, copy=False))


@dataclass(frozen=True)
class Bridge:
    """From the model's feed to the file's inputs. `wires` maps the name of each of the file's inputs."""

    wires: dict[str, Wire]

    def feed(self, values: Values) -> Values:
        """What the file is given for the model's feed."""
        return {name: wire.carry(values[wire.feed]) for name, wire in self.wires.items()}


def bridge(artifact: Artifact, feed: Values, given: Mapping[str, str], scale: float | None = None) -> Bridge:
    """Join the inputs of `artifact` to `feed` (N, …), as `given` (file's name → model's) says where it says anything.

    `scale` is the factor on pixels for a file that takes pictures as floats (see `RANGES`). Raises MappingError.
    """
    file = {spec.name: spec for spec in artifact.inputs}
    ways = {
        (name, ours): _unrounded(artifact, wire)
        for name, spec in file.items()
        for ours, values in feed.items()
        if (wire := _wire(spec, ours, values, scale)) is not None
    }
    lists = f"{artifact.path.name} takes {_told(file.values())}; the model {_told(_specs(feed))}"
    chosen = _join(tuple(file), tuple(feed), set(ways), given, "input", lists)
    return Bridge({name: ways[name, ours] for name, ours in chosen.items()})


def renamed(artifact: Artifact, made: Values, expected: Mapping[str, NDArray], given: Mapping[str, str]) -> Values:
    """What the file gave, `made` (N, …), under the names of the model's outputs, `expected`.

    A single output stands for a single one whatever its shape, and where names agree they are believed: that the shape
    is wrong is then for the comparison to say. With `given` (file's name → model's), outputs that neither it nor an
    equal name joins are left out. Raises MappingError where names and shapes leave more than one way.
    """
    if not given and (set(made) & set(expected) or len(made) == len(expected) == 1):
        names = dict.fromkeys(made) | ({} if set(made) & set(expected) else dict(zip(made, expected, strict=True)))
        return {names[name] or name: values for name, values in made.items()}
    fitting = {(name, ours) for name in made for ours in expected if made[name].shape == expected[ours].shape}
    lists = f"{artifact.path.name} gives {_told(_specs(made))}; the model {_told(_specs(expected))}"
    chosen = _join(tuple(made), tuple(expected), fitting, given, "output", lists)
    return {ours: made[name] for name, ours in chosen.items()}


def _wire(spec: TensorSpec, ours: str, values: NDArray, scale: float | None) -> Wire | None:
    """How `values` can go into the input `spec`; None if they do not fit."""
    pixels = values.dtype == np.uint8
    whole = np.dtype(spec.dtype).kind in "iub" if spec.dtype != "unknown" else values.dtype.kind in "iub"
    if whole != (values.dtype.kind in "iub") and not (pixels and scale is not None):
        return None
    orders = LAYOUTS if values.ndim == len(LAYOUTS[0]) else (tuple(range(values.ndim)),)
    for axes in orders:
        if _fits(spec.shape, tuple(values.shape[axis] for axis in axes)):
            dtype = str(values.dtype) if spec.dtype == "unknown" else spec.dtype
            return Wire(ours, axes, scale if pixels and not whole and scale is not None else 1.0, dtype)
    return None


def _unrounded(artifact: Artifact, wire: Wire) -> Wire:
    """A package is given float32: it rounds by itself, and run without rounding it shows what its constants cost."""
    return replace(wire, dtype="float32") if artifact.format == COREML and wire.dtype == "float16" else wire


def _fits(declared: Sequence[int | str], shape: Sequence[int]) -> bool:
    """Whether one sample of `shape` may be given; the batch in front, and open sizes, are free."""
    if not declared:
        return True
    pairs = list(zip(declared, shape, strict=False))[1:]
    return len(declared) == len(shape) and all(isinstance(size, str) or size == got for size, got in pairs)


def _join(
    file: tuple[str, ...],
    ours: tuple[str, ...],
    fitting: set[tuple[str, str]],
    given: Mapping[str, str],
    what: str,
    lists: str,
) -> dict[str, str]:
    """The file's name → the model's, for all of them, or for an output those that are `given`."""
    option = f"--{what}-map FILE_NAME=MODEL_NAME"
    for name, target in given.items():
        if name not in file or target not in ours:
            raise MappingError(f"--{what}-map {name}={target} names no such pair of {what}s; {lists}")
        if (name, target) not in fitting:
            raise MappingError(f"--{what}-map {name}={target} joins {what}s that do not fit each other; {lists}")
    fixed = dict(given) | {name: name for name in file if name not in given and (name, name) in fitting}
    if given and what == "output":
        return fixed
    left = [name for name in file if name not in fixed]
    free = [name for name in ours if name not in fixed.values()]
    if len(left) != len(free):
        raise MappingError(f"the file does not fit the model: {lists}")
    ways = [fixed | way for way in _ways(left, free, fitting)]
    if not ways:
        raise MappingError(f"the file does not fit the model: {lists}{_size_hint(what)}")
    if len(ways) > 1:
        raise MappingError(f"the {what}s can be joined in more than one way: {lists}; give {option}")
    return ways[0]


def _ways(left: list[str], free: list[str], fitting: set[tuple[str, str]]) -> list[dict[str, str]]:
    """The ways to join all of both, two of them at most: two are one too many."""

    def search(at: int, taken: frozenset[str]) -> Iterator[dict[str, str]]:
        if at == len(left):
            yield {}
            return
        for target in free:
            if target not in taken and (left[at], target) in fitting:
                for rest in search(at + 1, taken | {target}):
                    yield {left[at]: target} | rest

    found = []
    for way in search(0, frozenset()):
        found.append(way)
        if len(found) > 1:
            break
    return found


def _size_hint(what: str) -> str:
    return "; --image-size and --in-chans change what the model takes" if what == "input" else ""


def _specs(values: Mapping[str, NDArray]) -> list[TensorSpec]:
    return [TensorSpec(name, ("N", *array.shape[1:]), str(array.dtype)) for name, array in values.items()]


def _told(specs: Iterable[TensorSpec]) -> str:
    """'image float32 (1, 3, 224, 224) and mask int32 (1, 10)'."""
    parts = [f"{spec.name} {spec.dtype} ({', '.join(map(str, spec.shape))})" for spec in specs]
    return " and ".join(parts) or "nothing"
