"""Resizing, sampling and detection, against PyTorch where it defines the same grid and by hand where it does not."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from fuseport.mil.ops import detection, operator, resize, sampling
from torchvision.ops import nms

X = torch.randn(2, 3, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [(9, 8), (4, 3), (6, 11), (1, 1)])
def test_bilinear_grids_that_pytorch_has(size: tuple[int, int]) -> None:
    half = F.interpolate(X, size=size, mode="bilinear", align_corners=False)
    close(resize.resize_bilinear(X, *size, "UNALIGN_CORNERS"), half)
    corners = F.interpolate(X, size=size, mode="bilinear", align_corners=True)
    close(resize.resize_bilinear(X, *size, "STRICT_ALIGN_CORNERS"), corners)


def test_grids_by_the_documentation() -> None:
    """4 pixels to 2 and to 1."""
    expected = {
        "STRICT_ALIGN_CORNERS": ([0, 3], [0]),
        "ALIGN_CORNERS": ([0, 3], [1.5]),
        "DEFAULT": ([0, 2], [0]),
        "OFFSET_CORNERS": ([0.75, 2.25], [1.5]),
        "UNALIGN_CORNERS": ([0.5, 2.5], [1.5]),
    }
    for mode, (two, one) in expected.items():
        assert resize.grid(4, 2, mode).tolist() == two
        assert resize.grid(4, 1, mode).tolist() == one
    with pytest.raises(ValueError, match="unknown sampling mode 'CUBIC'"):
        resize.grid(4, 2, "CUBIC")


def test_upsampling() -> None:
    close(
        resize.upsample_bilinear(X, 2.5, 2, True), F.interpolate(X, size=(15, 10), mode="bilinear", align_corners=True)
    )
    close(resize.upsample_bilinear(X, 2.5, 2, False), F.interpolate(X, size=(15, 10), mode="bilinear"))
    first = resize.upsample_bilinear(X, 2, 1, False, False)
    close(first[:, :, 0::2], X)
    close(resize.upsample_nearest_neighbor(X, 2, 3), F.interpolate(X, scale_factor=(2, 3), mode="nearest"))


def test_fractional_nearest_recomputes_the_scale_from_the_sizes() -> None:
    """10 of 6 pixels: PyTorch, which divides by 1.7, picks others."""
    found = resize.upsample_nearest_neighbor(X, 1.7, 1)
    close(found, X[:, :, [math.floor(i * 6 / 10) for i in range(10)]])
    assert not torch.equal(found, F.interpolate(X, scale_factor=(1.7, 1), mode="nearest"))
    close(resize.resize_nearest_neighbor(X, 4, 5), X[:, :, [0, 1, 3, 4]])


def test_resize_of_ios17() -> None:
    close(resize.resize(X, (9, 0), 2, "LINEAR", "UNALIGN_CORNERS"), F.interpolate(X, size=(9, 5), mode="bilinear"))
    nearest = resize.resize(X, (4, 5), 2, "NEAREST_NEIGHBOR", "DEFAULT")
    close(nearest, X[:, :, [0, 2, 3, 5]])  # 0, 1.5, 3, 4.5 rounded half up
    assert resize.resize(X, (2, 4, 9, 8), 3).shape == (2, 4, 9, 8)


@pytest.mark.parametrize("align", [True, False])
@pytest.mark.parametrize(("padding", "torch_padding"), [("constant", "zeros"), ("border", "border")])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_resample_as_grid_sample(mode: str, padding: str, torch_padding: str, align: bool) -> None:
    grid = torch.rand(2, 4, 7, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2.6 - 1.3
    found = sampling.resample(X, grid, mode, padding, 0.0, "normalized_minus_one_to_one", align)
    close(found, F.grid_sample(X, grid, mode, torch_padding, align))


def test_resample_reflects_at_pixel_centres() -> None:
    grid = torch.rand(2, 4, 7, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2.6 - 1.3
    found = sampling.resample(X, grid, "bilinear", "reflection", 0.0, "normalized_minus_one_to_one", True)
    close(found, F.grid_sample(X, grid, "bilinear", "reflection", True))


def test_resample_in_pixels_and_in_zero_to_one() -> None:
    places = torch.tensor([[[[1.0, 2.0], [3.5, 0.0]]]] * 2, dtype=torch.float64)
    expected = torch.stack([X[:, :, 2, 1], (X[:, :, 0, 3] + X[:, :, 0, 4]) / 2], -1)[:, :, None]
    close(sampling.resample(X, places, coordinates_mode="unnormalized"), expected)
    ones = places / torch.tensor([4.0, 5.0])
    close(sampling.resample(X, ones, coordinates_mode="normalized_zero_to_one", align_corners=True), expected)
    halves = (places + 0.5) / torch.tensor([5.0, 6.0])
    close(sampling.resample(X, halves, coordinates_mode="normalized_zero_to_one"), expected)
    with pytest.raises(ValueError, match="unknown coordinates mode"):
        sampling.resample(X, places, coordinates_mode="polar")


def test_padding_rules_of_resample() -> None:
    row = torch.arange(3.0).reshape(1, 1, 1, 3)
    places = torch.tensor([[[[float(i), 0.0] for i in (-2, -1, 3, 4)]]])
    found = {
        mode: sampling.resample(row, places, "nearest", mode, 9.0, "unnormalized").flatten().tolist()
        for mode in ("constant", "border", "reflection", "symmetric")
    }
    assert found == {
        "constant": [9, 9, 9, 9],
        "border": [0, 0, 2, 2],
        "reflection": [2, 1, 1, 0],
        "symmetric": [1, 0, 2, 1],
    }


def test_affine_as_affine_grid() -> None:
    matrix = torch.tensor([[0.9, 0.1, 0.2, -0.1, 0.8, 0.1]] * 2, dtype=torch.float64)
    grid = F.affine_grid(matrix.reshape(2, 2, 3), [2, 3, 4, 7], align_corners=True)
    expected = F.grid_sample(X, grid, align_corners=True)
    close(sampling.affine(X, matrix, 4, 7, align_corners=True), expected)


def test_crop_resize_on_whole_pixels() -> None:
    """A box from pixel 1 to 3 sampled three times gives these pixels, in every way to write the box."""
    expected = X[0:1, :, 1:4, 2:5]
    boxes = {
        "CORNERS_HEIGHT_FIRST": [1, 2, 3, 4],
        "CORNERS_WIDTH_FIRST": [2, 1, 4, 3],
        "CENTER_SIZE_HEIGHT_FIRST": [2, 3, 2, 2],
        "CENTER_SIZE_WIDTH_FIRST": [3, 2, 2, 2],
    }
    for mode, box in boxes.items():
        given = torch.tensor([box], dtype=torch.float64)
        form = {"target_height": 3, "target_width": 3, "box_coordinate_mode": mode, "sampling_mode": "ALIGN_CORNERS"}
        close(sampling.crop_resize(X, given, (0,), **form), expected)
    normalized = torch.tensor([[1 / 5, 2 / 4, 3 / 5, 4 / 4]], dtype=torch.float64)
    form: dict[str, Any] = {"target_height": 3, "target_width": 3, "sampling_mode": "ALIGN_CORNERS"}
    close(sampling.crop_resize(X, normalized, (0,), normalized_coordinates=True, **form), expected)
    close(
        sampling.crop_resize(X, normalized * 10, (0,), normalized_coordinates=True, spatial_scale=0.1, **form), expected
    )


def test_crop_resize_before_ios17_takes_boxes_with_or_without_an_image() -> None:
    old = operator("crop_resize", 6)
    assert old is not None
    form = {"target_height": 3, "target_width": 3, "sampling_mode": "ALIGN_CORNERS"}
    with_image = old.function(X, torch.tensor([1.0, 1, 2, 3, 4], dtype=torch.float64).reshape(1, 1, 5, 1, 1), **form)
    close(with_image, X[None, 1:2, :, 1:4, 2:5])
    each = old.function(X, torch.tensor([1.0, 2, 3, 4], dtype=torch.float64).reshape(1, 1, 4, 1, 1), **form)
    close(each, X[None, :, :, 1:4, 2:5])


def test_crop_resize_pads_outside() -> None:
    box = torch.tensor([[-1.0, 0, 1, 2]], dtype=torch.float64)
    form = {"target_height": 3, "target_width": 3, "sampling_mode": "ALIGN_CORNERS", "pad_value": 7.0}
    found = sampling.crop_resize(X, box, (1,), **form)
    close(found[0, :, 1:], X[1, :, 0:2, 0:3])
    assert (found[0, :, 0] == 7).all()


def boxes_and_scores() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    centre, size = torch.rand(60, 2, generator=generator) * 4, torch.rand(60, 2, generator=generator) + 0.5
    return torch.cat([centre, size], 1), torch.rand(60, 2, generator=generator)


def test_suppression_as_torchvision() -> None:
    boxes, scores = boxes_and_scores()
    corners = torch.cat([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
    expected = nms(corners, scores.max(1).values, 0.3).tolist()
    found = detection.non_maximum_suppression(boxes[None], scores[None], 0.3, -1.0, 70)
    count = int(found[3])
    assert found[2][0, :count].tolist() == expected
    assert 5 < count < 60
    torch.testing.assert_close(found[0][0, :count], boxes[expected])
    assert found[2][0, count:].tolist() == [-1] * (70 - count)
    assert not found[1][0, count:].any()


def test_suppression_by_class_threshold_and_number() -> None:
    boxes, scores = boxes_and_scores()
    best, label = scores.max(1)
    corners = torch.cat([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
    apart = corners + label[:, None] * 100
    strong = [i for i in nms(apart, best, 0.3).tolist() if best[i] > 0.6]
    found = detection.non_maximum_suppression(boxes[None], scores[None], 0.3, 0.6, 4, True)
    assert found[2][0].tolist() == strong[:4]
    assert len(strong) > 4


def test_suppression_from_ios17_on_has_coordinates_first() -> None:
    boxes, scores = boxes_and_scores()
    new = operator("non_maximum_suppression", 7)
    assert new is not None
    turned = new.function(boxes.T[None], scores.T[None], 0.3, 20)
    plain = detection.non_maximum_suppression(boxes[None], scores[None], 0.3, -math.inf, 20)
    assert len(turned) == 3
    close(turned[0].double(), plain[0].transpose(1, 2).double())
    assert turned[2].tolist() == plain[2].tolist()
