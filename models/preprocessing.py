"""Pictures from disk as network inputs, prepared as a variant expects them, and that preparation in words."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .variant import Preprocessing

if TYPE_CHECKING:
    from PIL.Image import Image
    from torchvision.transforms import InterpolationMode

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")


class PictureError(ValueError):
    """A picture or a folder of pictures that cannot be used; the message is one line that names it."""


def load_picture(path: Path | str, preprocessing: Preprocessing) -> Tensor:
    """The picture in a file as a network input: float32 (3, size, size). Raises PictureError."""
    picture = _read(Path(path))
    try:
        return to_input(picture, preprocessing)
    except PictureError as error:
        raise PictureError(f"{path}: {error}") from error


def load_folder(folder: Path | str, preprocessing: Preprocessing, limit: int | None = None) -> tuple[Tensor, list[str]]:
    """The pictures in `folder` and its subfolders, the first `limit` by name: float32 (N, 3, size, size), and names.

    Files are told by their suffix; hidden ones are passed over. The names are paths relative to `folder`.
    Raises PictureError if there is no such folder, no picture in it, or one that cannot be read.
    """
    folder = Path(folder)
    if limit is not None and limit < 1:
        raise PictureError(f"the number of pictures must be at least 1; got {limit}")
    paths = _pictures_below(folder)[:limit]
    names = [path.relative_to(folder).as_posix() for path in paths]
    return torch.stack([load_picture(path, preprocessing) for path in paths]), names


def to_input(picture: Image, preprocessing: Preprocessing) -> Tensor:
    """Resize the shorter side, crop the centre, scale to 0..1, order the channels, normalise: float32 (3, size, size).

    Raises PictureError for a picture so long and thin that resizing it would fill the memory.
    """
    from PIL import Image
    from torchvision.transforms import v2

    height, width = _resized(picture, preprocessing)
    if height * width > (Image.MAX_IMAGE_PIXELS or float("inf")):
        raise PictureError(f"a picture of {picture.width}×{picture.height} is too long and thin to be resized")
    prepare = v2.Compose(
        [
            v2.Resize((height, width), interpolation=_interpolation(preprocessing)),
            v2.CenterCrop(preprocessing.sides),
            v2.PILToTensor(),
        ]
    )
    ordered = prepare(_rgb(picture))[["RGB".index(letter) for letter in preprocessing.colour]]
    mean, std = (torch.tensor(values).reshape(-1, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    return (ordered.float() / 255 - mean) / std


def _resized(picture: Image, preprocessing: Preprocessing) -> tuple[int, int]:
    """Height and width before the crop: covering the scaled input, or with `squash` equal to it."""
    (height, width), scale = preprocessing.sides, preprocessing.resize / preprocessing.size
    if preprocessing.squash:
        return int(height * scale), int(width * scale)
    if height == width:  # as torchvision rounds it
        shorter, longer = sorted(picture.size)
        sides = {shorter: preprocessing.resize, longer: int(preprocessing.resize * longer / shorter)}
        return sides[picture.height], sides[picture.width]
    cover = max(height / picture.height, width / picture.width) * scale
    return round(picture.height * cover), round(picture.width * cover)


def contract(preprocessing: Preprocessing) -> dict[str, object]:
    """What a caller must do to a picture before it is an input, as plain data for a report."""
    how = preprocessing
    size = how.size if how.width is None else list(how.sides)
    to: dict[str, object] = {"shorter_side": how.resize}
    if how.squash or how.width:
        to = {"both_sides" if how.squash else "cover": [how.resize, int(how.sides[1] * how.resize / how.size)]}
    return {
        "colour": how.colour,
        "resize": {**to, "interpolation": how.interpolation},
        "crop": {"centre": size},
        "range": [0.0, 1.0],
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
    }


def _interpolation(preprocessing: Preprocessing) -> InterpolationMode:
    from torchvision.transforms import InterpolationMode

    known = [mode.value for mode in InterpolationMode]
    if preprocessing.interpolation not in known:
        raise PictureError(f"unknown interpolation {preprocessing.interpolation!r}; known: {', '.join(known)}")
    return InterpolationMode(preprocessing.interpolation)


def _read(path: Path) -> Image:
    """The decoded picture in RGB, turned upright as its EXIF data says; of an animation the first frame."""
    from PIL import Image, ImageOps

    if not path.is_file():
        raise PictureError(f"{path}: there is no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                picture.load()
                return _rgb(ImageOps.exif_transpose(picture))
    except Image.UnidentifiedImageError as error:
        raise PictureError(f"{path}: not a picture, or of a format that is not supported") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise PictureError(f"{path}: more than {Image.MAX_IMAGE_PIXELS:,} pixels; make it smaller first") from error
    except Exception as error:  # decoders raise nearly anything on damaged files
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise PictureError(f"{path}: cannot be read as a picture: {reason}") from error


def _rgb(picture: Image) -> Image:
    """The picture in RGB; transparency is dropped, 16-bit grey is scaled (Pillow would cut it off at 255)."""
    from PIL import Image

    if picture.mode == "RGB":
        return picture
    if picture.mode.startswith("I"):
        picture = Image.fromarray((np.asarray(picture) / 257).clip(0, 255).round().astype(np.uint8))
    if "transparency" in picture.info:
        picture = picture.convert("RGBA")
    return picture.convert("RGB")


def _pictures_below(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise PictureError(f"{folder}: {'this is a file, not a' if folder.exists() else 'there is no such'} folder")
    found = []
    for place, subfolders, files in os.walk(folder):  # does not follow links to folders
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        found += [Path(place) / name for name in files if not name.startswith(".") and name.lower().endswith(SUFFIXES)]
    if not found:
        raise PictureError(f"{folder}: no pictures in this folder; expected files ending in {', '.join(SUFFIXES)}")
    return sorted(found)
