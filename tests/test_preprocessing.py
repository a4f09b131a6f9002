"""Pictures from disk: prepared as the authors' evaluation does, from every kind of file, or refused in one line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fuseport.models import find
from fuseport.models.preprocessing import PictureError, contract, load_folder, load_picture, to_input
from fuseport.models.variant import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from golden_weights import assert_close
from PIL import Image
from torchvision import transforms

SMALL = Preprocessing(size=16, resize=18)


def gradient(width: int, height: int) -> Image.Image:
    """Red grows to the right, green downwards, blue is 60."""
    red = np.broadcast_to(np.linspace(0, 255, width), (height, width))
    green = np.broadcast_to(np.linspace(0, 255, height)[:, None], (height, width))
    return Image.fromarray(np.stack([red, green, np.full_like(red, 60)], axis=-1).astype(np.uint8))


def denormalised(x: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return x * std + mean


def saved(tmp_path: Path, picture: Image.Image, name: str, **options: object) -> Path:
    picture.save(tmp_path / name, **options)
    return tmp_path / name


@pytest.mark.parametrize("name", ["shvit_s1", "shvit_s4", "swiftformer_xs"])
@pytest.mark.parametrize("size", [(400, 300), (300, 401), (180, 200)], ids=str)
def test_preparation_is_that_of_the_authors_evaluation(name: str, size: tuple[int, int]) -> None:
    preprocessing, picture = find(name).preprocessing, gradient(*size)
    resize = int(256 / 224 * preprocessing.size)
    evaluation = transforms.Compose(
        [
            transforms.Resize(resize, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(preprocessing.size),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    x = to_input(picture, preprocessing)
    assert x.dtype == torch.float32
    assert_close(x, evaluation(picture), 1e-6)


def test_colour_order_and_interpolation_are_followed() -> None:
    picture = gradient(40, 30)
    plain = replace(SMALL, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    rgb, bgr = (to_input(picture, replace(plain, colour=colour)) for colour in ("RGB", "BGR"))
    assert torch.equal(rgb, bgr.flip(0))
    assert not torch.equal(rgb, to_input(picture, replace(plain, interpolation="nearest")))
    with pytest.raises(PictureError, match=r"^unknown interpolation 'cubic'; known: nearest, .*bicubic"):
        to_input(picture, replace(plain, interpolation="cubic"))


def test_exif_orientation_is_honoured(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn clockwise to view
    path = saved(tmp_path, gradient(60, 40), "turned.png", exif=exif)
    x = denormalised(load_picture(path, SMALL))
    assert float(x[0, -1].mean()) > float(x[0, 0].mean()) + 0.3  # red grows downwards now


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1", "I;16", "YCbCr"])
def test_every_kind_of_picture_becomes_rgb(tmp_path: Path, mode: str) -> None:
    grey = gradient(40, 30).convert("L")
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
        assert picture.mode == "I;16"
    else:
        picture = grey.convert("RGB").convert(mode)
    path = saved(tmp_path, picture, "picture.tif" if mode in ("CMYK", "YCbCr") else "picture.png")
    x = load_picture(path, SMALL)
    assert x.shape == (3, 16, 16)
    if mode not in ("1", "CMYK"):
        assert float((x - to_input(grey, SMALL)).abs().max()) < (0.3 if mode == "P" else 0.1)


def test_a_palette_with_transparency_is_read(tmp_path: Path) -> None:
    path = saved(tmp_path, gradient(40, 30).quantize(16), "palette.png", transparency=bytes(range(16)))
    assert load_picture(path, SMALL).isfinite().all()


# ---- folders -------------------------------------------------------------------------------------------------------


def test_a_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "cats").mkdir()
    for name in ("b.png", "a.JPG", "cats/c.webp", ".hidden.png"):
        gradient(40, 30).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    pictures, names = load_folder(tmp_path, SMALL)
    assert names == ["a.JPG", "b.png", "cats/c.webp"]
    assert pictures.shape == (3, 3, 16, 16)
    assert torch.equal(pictures[1], load_picture(tmp_path / "b.png", SMALL))
    assert load_folder(tmp_path, SMALL, limit=2)[1] == names[:2]


@pytest.mark.parametrize("limit", [0, -3])
def test_a_limit_below_one_is_refused(tmp_path: Path, limit: int) -> None:
    with pytest.raises(PictureError, match=f"^the number of pictures must be at least 1; got {limit}$"):
        load_folder(tmp_path, SMALL, limit=limit)


def test_folders_that_cannot_be_used_get_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r": no pictures in this folder; expected files ending in \.jpg"):
        load_folder(tmp_path, SMALL)
    with pytest.raises(PictureError, match=r": there is no such folder$"):
        load_folder(tmp_path / "missing", SMALL)
    with pytest.raises(PictureError, match=r": this is a file, not a folder$"):
        load_folder(saved(tmp_path, gradient(4, 4), "a.png"), SMALL)
    (tmp_path / "z.png").write_bytes(b"")
    with pytest.raises(PictureError, match=r"z\.png: not a picture"):
        load_folder(tmp_path, SMALL)


# ---- files that cannot be used -------------------------------------------------------------------------------------


def test_a_missing_file_is_said() -> None:
    with pytest.raises(PictureError, match=r"^nowhere\.png: there is no such file$"):
        load_picture("nowhere.png", SMALL)


def test_an_html_page_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "page.jpg").write_text("<html>404</html>")
    with pytest.raises(PictureError, match=r"page\.jpg: not a picture, or of a format that is not supported$"):
        load_picture(tmp_path / "page.jpg", SMALL)


@pytest.mark.parametrize("name", ["cut.jpg", "cut.png", "cut.webp", "cut.gif", "cut.tif", "cut.bmp"])
def test_truncated_files_never_raise_anything_else(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    content = saved(tmp_path, Image.fromarray(noise), name).read_bytes()
    for kept in range(1, len(content) * 3 // 4, len(content) // 16):
        (tmp_path / name).write_bytes(content[:kept])
        with pytest.raises(PictureError) as caught:
            load_picture(tmp_path / name, SMALL)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("most", [500, 900])
def test_decompression_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    path = saved(tmp_path, gradient(40, 30), "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)  # Pillow warns from this on, and refuses from twice this on
    with pytest.raises(PictureError, match=rf"bomb\.png: more than {most} pixels; make it smaller first$"):
        load_picture(path, SMALL)


def test_a_picture_too_thin_to_be_resized_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("RGB", (60000, 1)), "thread.png")
    with pytest.raises(PictureError, match=r"thread\.png: a picture of 60000×1 is too long and thin to be resized$"):
        load_picture(path, find("shvit_s4").preprocessing)


def test_the_contract_is_plain_data() -> None:
    stated = contract(find("shvit_s4").preprocessing)
    assert json.loads(json.dumps(stated)) == stated
    assert stated["resize"] == {"shorter_side": 292, "interpolation": "bicubic"}
    assert (stated["crop"], stated["colour"], stated["range"]) == ({"centre": 256}, "RGB", [0.0, 1.0])
    assert (tuple(stated["mean"]), tuple(stated["std"])) == (IMAGENET_MEAN, IMAGENET_STD)
