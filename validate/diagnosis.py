"""What a failed output looks like: a simple change of the model's output that explains the error, if there is one.

Each cause below is tried on the whole output. It is named if it leaves at most a tenth of the error (a hundredth of its
energy), so a hint is a strong one; it never changes a verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

REST = 0.1
"""The share of the error, in L2, that a cause may leave unexplained."""

MAX_CLASSES = 4096
"""Exchanged classes are searched among this many wrong classes at most: the search is quadratic."""

Matrix = NDArray[np.float64]


def diagnose(name: str, truths: Mapping[str, NDArray], artifact: NDArray) -> str | None:
    """One clause on what `artifact`, the array that came for output `name`, looks like, or None.

    `truths` are all of the model's outputs; the first axis counts the samples, and the shape is that of the model's.
    """
    truth = truths[name]
    bad = ~np.isfinite(artifact)
    if bad.any():
        return _localise(bad.reshape(len(bad), -1) if bad.ndim else bad.reshape(1, 1))
    if not truth.ndim or not np.isfinite(truth).all():
        return None
    for other, values in truths.items():
        if other != name and values.shape == truth.shape and _explains(values, truth, artifact):
            return f"it is the model's output {other!r}"
    t, a = (np.asarray(values, np.float64).reshape(len(truth), -1) for values in (truth, artifact))
    causes = CLASS_CAUSES + CAUSES if truth.ndim == 2 else CAUSES
    return next((clause for cause in causes if (clause := cause(t, a))), None)


def _explains(candidate: NDArray, truth: NDArray, artifact: NDArray) -> bool:
    """`candidate` leaves little of the error, and little of itself: beside a large error all small ones look alike."""
    error, own = np.linalg.norm(artifact - truth), np.linalg.norm(candidate)
    return bool(np.linalg.norm(artifact - candidate) <= REST * min(error, own))


def _localise(bad: NDArray[np.bool_]) -> str | None:
    """Which samples hold the values that are not finite, where it is not all of them."""
    rows = np.flatnonzero(bad.any(axis=1))
    return f"they are in {_list('sample', rows)}" if len(rows) < len(bad) else None


def _constant(truth: Matrix, artifact: Matrix) -> str | None:
    if not artifact.any():
        return "it is zero everywhere"
    varies = np.linalg.norm(truth - truth[:1])
    same = varies > 0 and np.linalg.norm(artifact - artifact[:1]) <= 1e-3 * varies
    return "it is the same for every sample" if same else None


def _scaled(truth: Matrix, artifact: Matrix) -> str | None:
    energy = np.sum(truth**2)
    factor = np.sum(truth * artifact) / energy if energy else 1.0
    return f"it is the model's times {factor:.4g}" if _explains(factor * truth, truth, artifact) else None


def _shifted(truth: Matrix, artifact: Matrix) -> str | None:
    offset = float(np.mean(artifact - truth))
    return f"it is the model's plus {offset:.4g}" if _explains(truth + offset, truth, artifact) else None


def _softmax(truth: Matrix, artifact: Matrix) -> str | None:
    raised = np.exp(truth - truth.max(axis=1, keepdims=True))
    chances = raised / raised.sum(axis=1, keepdims=True)
    return "it is the softmax of the model's" if _explains(chances, truth, artifact) else None


def _samples_moved(truth: Matrix, artifact: Matrix) -> str | None:
    """Samples that hold the output of another sample: stuck, dropped or in another order."""
    wrong = np.linalg.norm(artifact - truth, axis=1)
    source = np.array([np.argmin(np.linalg.norm(truth - row, axis=1)) for row in artifact])
    moved = np.flatnonzero((source != np.arange(len(truth))) & (wrong > 0))
    if not len(moved) or not _explains(truth[source], truth, artifact):
        return None
    return f"for {_list('sample', moved)} it is the model's output for {_list('sample', source[moved])}"


def _classes_moved(truth: Matrix, artifact: Matrix) -> str | None:
    """Columns that are each other's: exchanged, rotated or reversed classes, or another order of them."""
    wrong = np.linalg.norm(artifact - truth, axis=0)
    columns = np.flatnonzero(wrong > REST * wrong.max())
    if not 2 <= len(columns) <= MAX_CLASSES:
        return None
    orders = (_matched(truth, artifact, columns), *_regular(truth, artifact))
    moved = any(order is not None and _explains(truth[:, order], truth, artifact) for order in orders)
    return f"{_list('class', columns)} are in another order" if moved else None


def _matched(truth: Matrix, artifact: Matrix, columns: NDArray) -> NDArray | None:
    """Each wrong column taken from the nearest of them; None where two come from one."""
    expected, came = truth[:, columns], artifact[:, columns]
    nearest = np.array([np.argmin(np.linalg.norm(expected - came[:, [i]], axis=0)) for i in range(len(columns))])
    if len(set(nearest)) != len(nearest):
        return None
    order = np.arange(truth.shape[1])
    order[columns] = columns[nearest]
    return order


def _regular(truth: Matrix, artifact: Matrix) -> tuple[NDArray, NDArray]:
    """All columns reversed, or rotated so that they agree best: among many that are alike, none is told by itself."""
    spectra = np.fft.rfft(artifact, axis=1) * np.conj(np.fft.rfft(truth, axis=1))
    shift = int(np.argmax(np.fft.irfft(spectra.sum(axis=0), truth.shape[1])))
    places = np.arange(truth.shape[1])
    return places[::-1], np.roll(places, shift)


def _one_sample(truth: Matrix, artifact: Matrix) -> str | None:
    return _concentrated("sample", np.linalg.norm(artifact - truth, axis=1))


def _one_class(truth: Matrix, artifact: Matrix) -> str | None:
    return _concentrated("class", np.linalg.norm(artifact - truth, axis=0))


def _concentrated(what: str, parts: NDArray[np.float64]) -> str | None:
    worst = int(np.argmax(parts))
    rest = np.linalg.norm(np.delete(parts, worst))
    return f"the error is in {what} {worst} alone" if len(parts) > 1 and rest <= REST * parts[worst] else None


def _list(what: str, indices: NDArray) -> str:
    """'sample 3', 'samples 1, 2 and 5', 'classes 1, 2, 3, 4 and 996 more'."""
    plural = what + ("es" if what.endswith("s") else "s")
    if len(indices) == 1:
        return f"{what} {indices[0]}"
    shown = [str(i) for i in indices] if len(indices) <= 5 else [*map(str, indices[:4]), f"{len(indices) - 4} more"]
    return f"{plural} {', '.join(shown[:-1])} and {shown[-1]}"


Cause = Callable[[Matrix, Matrix], str | None]
CAUSES: tuple[Cause, ...] = (_constant, _scaled, _shifted, _samples_moved, _one_sample)
CLASS_CAUSES: tuple[Cause, ...] = (_softmax, _classes_moved, _one_class)
"""For outputs of class scores (N, classes): tried before the others."""
