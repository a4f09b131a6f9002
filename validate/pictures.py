"""Seeded test pictures with the statistics of photographs, for checks that need an input and have no data set.

White noise is a poor test input: a network averages it away, so every picture gives nearly the same output and a
wrong artifact is hard to tell from a right one. These pictures have what photographs have:

- an amplitude spectrum that falls as 1/f (Field 1987, "Relations between the statistics of natural images and the
  response properties of cortical cells");
- occlusion: opaque shapes with power-law sizes, painted back to front, the "dead leaves" model (Lee, Mumford and Huang
  2001, "Occlusion models for natural images");
- colour channels that move together: one strong luminance and weak opponent colours (Ruderman, Cronin and Chiao
  1998, "Statistics of cone responses to natural images");
- a brightness and a contrast of their own, so that a batch spans dark, bright, flat and hard pictures.

Only the raw PCG64 stream is used, which NumPy promises to keep, and values lie on the 8-bit grid, so the same seed
gives the same pictures on every machine. Picture i depends on the seed and on i alone, not on how many are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LEAVES = 60
"""Shapes per picture: enough to cover most of it, with some of the background left."""

RADIUS = (0.03, 0.5)
"""Smallest and largest radius of a shape, as a share of the picture's side; the density falls as radius^-3."""

COLOUR = ((1.0, 0.30, 0.12), (1.0, 0.0, -0.24), (1.0, -0.30, 0.12))
"""Red, green and blue from luminance, blue-yellow and red-green: the principal axes of photographs, weakest last."""

LUMINANCE_SHARE = 0.9
"""For other channel counts: the part of each channel that all channels have in common."""


def pictures(n: int, height: int, width: int, *, seed: int, channels: int = 3) -> NDArray[np.float32]:
    """`n` pictures, float32 (N, C, H, W) in 0..1, each value a multiple of 1/255.

    Raises a ValueError for a size, count or seed that makes no picture.
    """
    return pictures_uint8(n, height, width, seed=seed, channels=channels).astype(np.float32) / np.float32(255)


def pictures_uint8(n: int, height: int, width: int, *, seed: int, channels: int = 3) -> NDArray[np.uint8]:
    """The same pictures as `pictures`, uint8 (N, C, H, W) in 0..255: what an image input is fed."""
    for name, value in (("n", n), ("height", height), ("width", width), ("channels", channels)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}")
    return np.stack([_picture(i, (channels, height, width), seed) for i in range(n)])


def normalise(pictures: NDArray[np.float32], mean: Sequence[float], std: Sequence[float]) -> NDArray[np.float32]:
    """(pictures - mean) / std per channel; `pictures` is (N, C, H, W) in 0..1, `mean` and `std` have C entries."""
    channels = pictures.shape[1]
    if len(mean) != channels or len(std) != channels:
        raise ValueError(f"expected {channels} means and stds, one per channel; got {len(mean)} and {len(std)}")
    if min(std) <= 0:
        raise ValueError(f"every std must be above 0, got {tuple(std)}")
    centre, spread = (np.asarray(values, np.float64).reshape(1, channels, 1, 1) for values in (mean, std))
    return ((pictures - centre) / spread).astype(np.float32)


def _picture(index: int, shape: tuple[int, int, int], seed: int) -> NDArray[np.uint8]:
    stream = np.random.PCG64([seed, index])
    channels, height, width = shape
    texture = _texture(stream, (channels, height, width))
    scene = _mix(_paint_leaves(stream, texture))
    brightness, contrast = 0.3 + 0.4 * _spread(index, 0), 0.10 + 0.16 * _spread(index, 1)
    scene = (scene - scene.mean()) / max(float(scene.std()), 1e-12)
    return np.rint(np.clip(brightness + contrast * scene, 0, 1) * 255).astype(np.uint8)


def _texture(stream: np.random.PCG64, shape: tuple[int, int, int]) -> NDArray[np.float64]:
    """Planes (C, H, W) of noise with a 1/f amplitude spectrum, mean 0, about unit deviation."""
    _, height, width = shape
    vertical, horizontal = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    frequency = np.hypot(vertical, horizontal)
    frequency[0, 0] = np.inf  # no constant part: brightness is set later
    planes = np.fft.irfft2(np.fft.rfft2(_normal(stream, shape)) / frequency, s=(height, width))
    return planes / np.maximum(planes.std(axis=(1, 2), keepdims=True), 1e-12)


def _paint_leaves(stream: np.random.PCG64, texture: NDArray[np.float64]) -> NDArray[np.float64]:
    """Opaque ellipses and rectangles over `texture` (C, H, W), later ones in front; each shows its own colour and some
    of the texture."""
    scene = texture.copy()
    channels, height, width = scene.shape
    side = (height * width) ** 0.5
    for draws in _uniform(stream, (LEAVES, 7)):
        row, column = draws[0] * height, draws[1] * width
        radius = side * (RADIUS[0] ** -2 + draws[2] * (RADIUS[1] ** -2 - RADIUS[0] ** -2)) ** -0.5
        top, left = max(0, int(row - 2 * radius)), max(0, int(column - 2 * radius))
        box = np.s_[:, top : int(row + 2 * radius) + 1, left : int(column + 2 * radius) + 1]
        rows = np.arange(top, top + scene[box].shape[1])[:, None] - row
        columns = np.arange(left, left + scene[box].shape[2])[None, :] - column
        angle, stretch = np.pi * draws[3], 0.5 + draws[4]
        across = np.abs(rows * np.cos(angle) - columns * np.sin(angle)) / (radius * stretch)
        along = np.abs(rows * np.sin(angle) + columns * np.cos(angle)) * stretch / radius
        inside = across**2 + along**2 < 1 if draws[5] < 0.5 else np.maximum(across, along) < 0.8
        colour = 1.5 * _normal(stream, (channels, 1, 1))
        scene[box] = np.where(inside, colour + 0.6 * draws[6] * texture[box], scene[box])
    return scene


def _mix(planes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Independent planes (C, H, W) → correlated channels (C, H, W)."""
    channels = len(planes)
    if channels == 3:
        return np.tensordot(np.asarray(COLOUR), planes, axes=1)
    return LUMINANCE_SHARE * planes[:1] + (1 - LUMINANCE_SHARE) * planes if channels > 1 else planes


def _spread(index: int, axis: int) -> float:
    """Entry `index` of a sequence that fills 0..1 evenly from the start (Roberts' additive recurrence, two axes)."""
    return (0.5 + (index + 1) * (0.7548776662466927, 0.5698402909980532)[axis]) % 1.0


def _uniform(stream: np.random.PCG64, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Numbers in 0..1 from the upper 53 bits of the raw stream."""
    raw = np.asarray(stream.random_raw(int(np.prod(shape))), np.uint64)
    return ((raw >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(shape)


def _normal(stream: np.random.PCG64, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Standard normal numbers by Box and Muller's transform."""
    radius, angle = _uniform(stream, (2, *shape))
    return np.sqrt(-2 * np.log1p(-radius)) * np.cos(2 * np.pi * angle)
