"""Who takes part in a measurement: every subject on every engine that was asked for, opened, and what it is fed.

Inputs are drawn once per shape from a seeded normal distribution, so that all contestants of a model compute on the
same numbers; pictures of 0..255 are uniform, other whole numbers zero.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from ...validate.measure import timed_once
from ..artifact import NotRun, TensorSpec, files_of, in_one_line
from ..backends import BACKENDS, Backend, CannotRun, Opened
from ..given import Given
from ..subject import Values

INPUTS = "normally distributed numbers, seed {seed}; pictures of 0..255 uniform, other whole numbers zero"
LOAD = "in the measuring process, libraries imported before; files dropped from the system's cache where it lets us"


class UnknownBackendError(ValueError):
    """A name that is no backend's, or one that runs none of the subjects."""


@dataclass(frozen=True)
class Contestant:
    """A subject on an engine."""

    name: str
    given: Given
    backend: Backend


@dataclass(frozen=True)
class Ready:
    """A contestant that was loaded, in `load_ms` milliseconds."""

    contestant: Contestant
    opened: Opened
    load_ms: float


def line_up(given: Sequence[Given], backends: Sequence[str] = ()) -> tuple[Contestant, ...]:
    """The subjects in their order, each on the backends named, or on those that are chosen by themselves.

    Raises UnknownBackendError for a name that is unknown, or that runs none of the subjects.
    """
    _require_useful(backends, given)
    pairs = [
        (subject, backend)
        for subject in given
        for backend in BACKENDS
        if backend.takes == subject.kind and (backend.name in backends if backends else _by_itself(backend))
    ]
    names = _told_apart([f"{subject.name}, {backend.title}" for subject, backend in pairs])
    return tuple(Contestant(name, *pair) for name, pair in zip(names, pairs, strict=True))


def open_contestant(contestant: Contestant, threads: int) -> Ready | NotRun:
    """Load it from a cold file; NotRun where its engine is not here or cannot run it.

    Raises ValueError for a model or a checkpoint that does not exist or does not fit.
    """
    if reason := contestant.backend.missing():
        return NotRun(reason)
    if contestant.given.path is not None:
        _forget(contestant.given)
    try:
        opened, load_ms = timed_once(lambda: contestant.backend.open(contestant.given, threads))
    except CannotRun as error:
        return NotRun(str(error))
    except (RuntimeError, MemoryError) as error:
        return NotRun(f"{contestant.backend.title} cannot load {contestant.given.name}: {in_one_line(error)}")
    return Ready(contestant, cast(Opened, opened), load_ms)


def feed(inputs: Sequence[TensorSpec], batch: int, seed: int) -> Values | NotRun:
    """Inputs of the shapes asked for at this batch; NotRun where the file does not take them."""
    made: Values = {}
    for given in inputs:
        if not _is_number(given.dtype):
            return NotRun(f"its input {given.name} is of type {given.dtype}; expected numbers")
        if given.shape[:1] != (batch,) and given.shape and isinstance(given.shape[0], int):
            return NotRun(
                f"it takes a batch of {given.shape[0]} alone, not {batch}; export it with --dynamic-batch, "
                f"or with --batch-size {batch}"
            )
        if any(not isinstance(size, int) for size in given.shape[1:]):
            return NotRun(
                f"its input {given.name} has open sizes beside the batch: {given.shape}; export it with fixed ones"
            )
        made[given.name] = _drawn(given, (batch, *given.shape[1:]) if given.shape else (), seed)
    return made


def _is_number(dtype: str) -> bool:
    try:
        return np.dtype(dtype).kind in "fiub"
    except TypeError:
        return False


def _drawn(given: TensorSpec, shape: tuple[int | str, ...], seed: int) -> np.ndarray:
    random, sizes = np.random.default_rng(seed), tuple(int(size) for size in shape)
    dtype = np.dtype(given.dtype)
    if dtype.kind == "f":
        return random.standard_normal(sizes, dtype=np.float32).astype(dtype)
    return random.integers(0, 256, sizes, dtype=np.uint8) if dtype == np.uint8 else np.zeros(sizes, dtype)


def _by_itself(backend: Backend) -> bool:
    return backend.chosen == "always" or (backend.chosen == "when present" and not backend.missing())


def _require_useful(backends: Sequence[str], given: Sequence[Given]) -> None:
    known = {backend.name: backend for backend in BACKENDS}
    for name in backends:
        if name not in known:
            raise UnknownBackendError(f"unknown backend {name!r}; known: {', '.join(known)}")
        if known[name].takes not in {subject.kind for subject in given}:
            kinds = {"model": "models by name", "onnx": ".onnx files", "coreml": ".mlpackage folders"}
            raise UnknownBackendError(f"backend {name} runs {kinds[known[name].takes]}, and none was given")


def _told_apart(names: Sequence[str]) -> list[str]:
    """The same names, numbered from the second of a kind on."""
    seen: Counter[str] = Counter()
    told = []
    for name in names:
        seen[name] += 1
        told.append(f"{name} ({seen[name]})" if seen[name] > 1 else name)
    return told


def _forget(given: Given) -> None:
    """Ask the system to drop the files from its cache, so that loading reads the disk; Linux alone listens."""
    if not hasattr(os, "posix_fadvise"):
        return
    for file in files_of(given.file):
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
