"""Is a failed file's input prepared otherwise than the model's? Each usual mistake is tried on the model itself.

Most wrong exports of vision models are right networks behind a wrong preparation: red and blue exchanged, 0..255 where
0..1 was meant, a mean that is not subtracted. Such a file computes f(g(p)), with f the model, p the picture and g the
wrong preparation. So the model is run on g(p) for each g of a table. The one that leaves least of the error is named if
it leaves at most REST of it, besides what rounding to the file's precision costs where that is known: a wrong weight
inside the network is not explained by any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

REST, MOST = 0.02, 0.06
"""Share of the error that the right explanation may leave: far less than what two mistakes that look alike have between
them (a first layer of twice its size looks like a picture in -1..1, but for 0.08), so never above the second."""

Array = NDArray[np.float64]
Outputs = Mapping[str, NDArray]
Run = Callable[[Array], Outputs]
"""The model: normalised pictures (N, C, H, W) → its outputs by name."""

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


@dataclass(frozen=True)
class Prepared:
    """A batch of pictures in the ways in which a wrong preparation may start: `pixels` in 0..1, `normalised` as the
    model takes it, (N, C, H, W); `mean` and `std` are (1, C, 1, 1)."""

    pixels: Array
    mean: Array
    std: Array

    @property
    def normalised(self) -> Array:
        return (self.pixels - self.mean) / self.std


Mistake = tuple[str, Callable[[Prepared], Array]]
"""What is wrong, as a clause, and what then reaches the network."""

MISTAKES: tuple[Mistake, ...] = (
    ("the mean is not subtracted", lambda x: x.pixels / x.std),
    ("the mean is added, not subtracted", lambda x: (x.pixels + x.mean) / x.std),
    ("the std is not divided by", lambda x: x.pixels - x.mean),
    ("the std is the same for all channels (their average)", lambda x: (x.pixels - x.mean) / x.std.mean()),
    ("neither mean nor std is applied: the network sees 0..1", lambda x: x.pixels),
    ("nothing is applied: the network sees 0..255", lambda x: 255 * x.pixels),
    ("the picture is not scaled to 0..1 before mean and std: 0..255 is", lambda x: (255 * x.pixels - x.mean) / x.std),
    ("the picture is scaled by 1/255 twice", lambda x: (x.pixels / 255 - x.mean) / x.std),
    ("the mean is subtracted in 0..255, and nothing is scaled", lambda x: 255 * (x.pixels - x.mean)),
    ("the picture is normalised to -1..1 (mean 0.5, std 0.5)", lambda x: 2 * x.pixels - 1),
    ("ImageNet's mean and std are applied in place of the model's", lambda x: _with(x.pixels, *IMAGENET)),
    ("CLIP's mean and std are applied in place of the model's", lambda x: _with(x.pixels, *CLIP)),
    ("the picture is normalised twice; the file does it itself", lambda x: (x.normalised - x.mean) / x.std),
    (
        "the file normalises by itself, from pictures of 0..255",
        lambda x: (x.normalised / 255 - x.mean) / x.std,
    ),
    ("the file normalises by itself, from pictures of 0..255 to -1..1", lambda x: x.normalised / 127.5 - 1),
    ("the file normalises by itself, from pictures of 0..1 to -1..1", lambda x: 2 * x.normalised - 1),
    ("rows and columns are exchanged", lambda x: x.normalised.swapaxes(2, 3)),
    ("the picture is upside down", lambda x: x.normalised[:, :, ::-1]),
    ("the picture is mirrored", lambda x: x.normalised[:, :, :, ::-1]),
)
"""Tried in this order; the channels' own mistake, red for blue, is tried alone and together with each."""

SWAPPED = "red and blue are exchanged (BGR for RGB)"
SWAPPED_LATE = "red and blue are exchanged (BGR for RGB), after the normalisation"


def explain_preparation(
    run: Run,
    pixels: NDArray,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    truth: Outputs,
    artifact: Outputs,
    rounded: Outputs | None = None,
) -> str | None:
    """One clause on how the file's preparation differs from (pixels - mean) / std, or None if that is not its fault.

    `pixels` (N, C, H, W) in 0..1; `truth` and `artifact` are the float outputs of model and file on them, with equal
    names; `rounded` is the model's, rounded as the file is, if that is known. The model is run once for each mistake
    that could be made with so many channels.
    """
    names = [name for name in truth if name in artifact and artifact[name].shape == truth[name].shape]
    names = [name for name in names if truth[name].dtype.kind == "f" and np.isfinite(artifact[name]).all()]
    error = _distance(truth, artifact, names)
    if not names or not error:
        return None
    left = {
        told: _left(run, reaches, artifact, names, error) for told, reaches in _reaching(_prepared(pixels, mean, std))
    }
    told = min(left, key=lambda name: left[name], default=None)
    rest = REST + (0.0 if rounded is None else _distance(truth, rounded, names) / error)
    return told if told is not None and left[told] <= min(rest, MOST) else None


def _prepared(pixels: NDArray, mean: Sequence[float], std: Sequence[float]) -> Prepared:
    shape = (1, -1, 1, 1)
    return Prepared(pixels.astype(np.float64), np.reshape(mean, shape), np.reshape(std, shape))


def _reaching(right: Prepared) -> Iterator[tuple[str, Array]]:
    """Each mistake, and what it lets through to the network; those that change nothing are left out."""
    ways = [(told, mistake(right)) for told, mistake in MISTAKES if _possible(told, right)]
    if right.pixels.shape[1] == len(IMAGENET[0]):
        swapped = Prepared(right.pixels[:, ::-1], right.mean, right.std)
        late = (SWAPPED_LATE, right.normalised[:, ::-1])
        both = [(f"{SWAPPED}, and {told}", mistake(swapped)) for told, mistake in MISTAKES if _possible(told, right)]
        ways = [(SWAPPED, swapped.normalised), late, *ways, *both]
    yield from ((told, reaches) for told, reaches in ways if not np.allclose(reaches, right.normalised, atol=1e-6))


def _possible(told: str, right: Prepared) -> bool:
    channels, height, width = right.pixels.shape[1:]
    if told == "rows and columns are exchanged":
        return height == width
    return channels == len(IMAGENET[0]) or not told.startswith(("ImageNet", "CLIP"))


def _left(run: Run, reaches: Array, artifact: Outputs, names: Sequence[str], error: float) -> float:
    """The share of the error that is left when the model is given `reaches`; infinite where it gives no number."""
    made = run(np.ascontiguousarray(reaches))
    if not all(np.isfinite(made[name]).all() for name in names):
        return float("inf")
    # beside a large error all small outputs look alike: what is left must be small beside the outputs too
    own = float(np.sqrt(sum(np.sum(np.square(made[name], dtype=np.float64)) for name in names)))
    return _distance(made, artifact, names) / max(min(error, own), 1e-300)


def _distance(a: Outputs, b: Outputs, names: Sequence[str]) -> float:
    return float(np.sqrt(sum(np.sum(np.square(a[name].astype(np.float64) - b[name])) for name in names)))


def _with(pixels: Array, mean: Sequence[float], std: Sequence[float]) -> Array:
    return (pixels - np.reshape(mean, (1, -1, 1, 1))) / np.reshape(std, (1, -1, 1, 1))
