"""SWAG checkpoints: the official keys, torchvision's, another resolution, another size.

torchvision publishes the same weights (`IMAGENET1K_SWAG_E2E_V1`) under other names, its position embedding batch first.
A checkpoint of another resolution differs in the length of its position embedding alone; its grid is resized as SWAG
does it, bicubic with aligned corners, the class token's row kept.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from .swag_vit import SIZES, SwagViT
from .weights_file import CheckpointError

POSITIONS = "encoder.pos_embedding"
PATCHES = "conv_proj.weight"

_TORCHVISION_PLACES = (
    (r"^encoder\.layers\.encoder_layer_(\d+)\.", r"encoder.layers.layer_\1."),
    (r"\.mlp\.0\.", ".mlp.linear_1."),
    (r"\.mlp\.3\.", ".mlp.linear_2."),
    (r"^heads\.head\.", "head.layers.head."),
)


def is_torchvision(keys: Iterable[str]) -> bool:
    """Whether these are the state-dict keys of torchvision's VisionTransformer."""
    return any(key.startswith("encoder.layers.encoder_layer_") for key in keys)


def from_torchvision(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict under SWAG's keys, its position embedding sequence first. Other keys stay as they are."""

    def official(key: str) -> str:
        for pattern, place in _TORCHVISION_PLACES:
            key = re.sub(pattern, place, key)
        return key

    renamed = {official(key): value for key, value in state_dict.items()}
    positions = renamed.get(POSITIONS)
    if positions is not None and positions.ndim == 3 and positions.shape[0] == 1:
        renamed[POSITIONS] = positions.transpose(0, 1)
    return renamed


def fitted(state_dict: Mapping[str, Tensor], model: SwagViT) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The state dict with its position embedding resized to the model's grid where the lengths differ, and notes.

    Raises CheckpointError if these are the weights of another size, which it names, or have no square grid.
    """
    _require_size(state_dict, model)
    positions = state_dict.get(POSITIONS)
    if positions is None or positions.shape == model.encoder.pos_embedding.shape:
        return dict(state_dict), ()
    resized = resized_positions(positions, model.shape.grid)
    note = f"position embedding resized from {len(positions)} to {len(resized)} tokens"
    return {**state_dict, POSITIONS: resized}, (note,)


def resized_positions(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """Position embedding (1 + h², 1, D) resized to (1 + rows * columns, 1, D); CheckpointError if h is not whole."""
    if positions.ndim != 3 or positions.shape[1] != 1 or math.isqrt(len(positions) - 1) ** 2 != len(positions) - 1:
        raise CheckpointError(
            f"{POSITIONS} must have the shape (1 + side * side, 1, width), the class token and a square grid;"
            f" got {tuple(positions.shape)}"
        )
    side = math.isqrt(len(positions) - 1)
    squares = positions[1:].float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
    resized = F.interpolate(squares, size=grid, mode="bicubic", align_corners=True)
    rows = resized.flatten(2).permute(2, 0, 1).to(positions.dtype)
    return torch.cat((positions[:1], rows))


def _require_size(state_dict: Mapping[str, Tensor], model: SwagViT) -> None:
    """Raise CheckpointError unless width, patch and depth are the model's; silent where the keys do not tell."""
    patches = state_dict.get(PATCHES)
    if patches is None or patches.ndim != 4:
        return
    found = (patches.shape[-1], patches.shape[0], _depth(state_dict))
    if found == (model.size.patch, model.size.width, model.size.depth):
        return
    named = {(size.patch, size.width, size.depth): (name, size.name) for name, size in SIZES.items()}
    known = f"{named[found][1]} (vit_{named[found][0]}_in1k)" if found in named else "a ViT"
    raise CheckpointError(
        f"the checkpoint is {known} of patch {found[0]}, width {found[1]} and {found[2]} layers;"
        f" the model is {model.size.name} of patch {model.size.patch}, width {model.size.width} and"
        f" {model.size.depth} layers: choose the variant of the checkpoint's size"
    )


def _depth(keys: Iterable[str]) -> int:
    """How many encoder layers the official keys name."""
    found = (re.match(r"encoder\.layers\.layer_(\d+)\.", key) for key in keys)
    return len({match[1] for match in found if match})
