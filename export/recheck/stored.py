"""Inputs that the user brings in a .npz, and the outputs expected for them, by name.

Arrays named like an input of the file (or of the model) are inputs, those named like an output are expected outputs.
The first axis counts the samples. Nothing in the file is unpickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from ..artifact import Artifact

Values = dict[str, NDArray]


class StoredError(ValueError):
    """A .npz that cannot be used; the message is one line that names it."""


@dataclass(frozen=True)
class Stored:
    """The arrays of a .npz."""

    path: Path
    arrays: Values

    def has_outputs(self, artifact: Artifact) -> bool:
        """Whether there is an expected output for the file."""
        return any(made.name in self.arrays for made in artifact.outputs)

    def feed(self, artifact: Artifact) -> Values:
        """The file's inputs by name, each (N, …) in the file's layout. Raises StoredError where one is missing."""
        missing = [given.name for given in artifact.inputs if given.name not in self.arrays]
        if missing:
            raise StoredError(
                f"{self.path}: has no array for {missing[0]!r}, an input of {artifact.path.name}; "
                f"it has {self._names()}"
            )
        return {
            given.name: _of_dtype(self.arrays[given.name], given.dtype, given.name, self.path)
            for given in artifact.inputs
        }

    def outputs(self, artifact: Artifact) -> Values:
        """The expected outputs by name, floats in float64."""
        found = {made.name: self.arrays[made.name] for made in artifact.outputs if made.name in self.arrays}
        return {
            name: values.astype(np.float64) if values.dtype.kind == "f" else values for name, values in found.items()
        }

    def _names(self) -> str:
        return ", ".join(self.arrays) or "nothing"


def read_stored(path: Path) -> Stored:
    """The .npz at `path`. Raises StoredError for anything else, and for arrays that are no numbers."""
    if path.suffix != ".npz":
        raise StoredError(f"{path}: expected a .npz with an array for each input, got {path.suffix or 'no suffix'}")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, BadZipFile, EOFError, ValueError) as error:
        reason = "there is no such file" if not path.exists() else "it is damaged, or holds objects instead of numbers"
        raise StoredError(f"{path}: cannot be read: {reason}") from error
    for name, values in arrays.items():
        if values.dtype.kind not in "fiub":
            raise StoredError(f"{path}: expected numbers, but {name!r} holds {values.dtype}")
        if not values.ndim or not len(values):
            raise StoredError(f"{path}: {name!r} holds no samples; the first axis must count them")
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise StoredError(f"{path}: {name!r} holds NaN or infinite values")
    if not arrays:
        raise StoredError(f"{path}: holds no arrays")
    return Stored(path, arrays)


def feed_of(stored: Stored, joined: Mapping[str, str], feed: Mapping[str, NDArray]) -> Values:
    """The stored inputs as the *model's* feed, in place of `feed`, which says the names, layouts and dtypes.

    An array counts that is named like the model's input, or like the file's input that is `joined` to it (file's name →
    model's). Raises StoredError.
    """
    found = {name: _of_input(stored, name, own, joined) for name, own in feed.items()}
    counts = {name: len(values) for name, values in found.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{count} of {name}" for name, count in counts.items())
        raise StoredError(f"{stored.path}: expected as many samples of each input, got {told}")
    return found


def _of_input(stored: Stored, name: str, own: NDArray, joined: Mapping[str, str]) -> NDArray:
    """The samples of one input, laid out and typed like `own`."""
    known = (name, *(file for file, ours in joined.items() if ours == name))
    fitting = [other for other in known if other in stored.arrays]
    if not fitting:
        raise StoredError(f"{stored.path}: expected an array {name!r}; it has {', '.join(stored.arrays)}")
    values = stored.arrays[fitting[0]]
    for axes in (tuple(range(values.ndim)), *(((0, 2, 3, 1), (0, 3, 1, 2)) if values.ndim == 4 else ())):
        if values.transpose(axes).shape[1:] == own.shape[1:]:
            turned = np.ascontiguousarray(values.transpose(axes))
            return _of_dtype(turned, str(own.dtype), fitting[0], stored.path)
    raise StoredError(f"{stored.path}: {fitting[0]!r} has shape {values.shape}; expected (N, {_sizes(own.shape[1:])})")


def _sizes(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))


def _of_dtype(values: NDArray, dtype: str, name: str, path: Path) -> NDArray:
    """`values` in `dtype`, where that loses no more than digits. Raises StoredError."""
    kind = np.dtype(dtype).kind if dtype != "unknown" else values.dtype.kind
    if kind in "iu" and values.dtype.kind == "f":
        raise StoredError(f"{path}: {name!r} holds {values.dtype}; expected {dtype}")
    return values if dtype == "unknown" else values.astype(dtype, copy=False)
