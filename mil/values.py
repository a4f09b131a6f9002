"""Between the caller and the program: what was given becomes tensors, checked, and what was computed becomes arrays.

Pictures are PIL images, or uint8 arrays (H, W, C) or (H, W); scale and bias of an image input are operations of the
program, so nothing is scaled here. A picture's size is the caller's business: nothing is resized.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .arithmetic import Arithmetic
from .errors import InputError
from .features import CHANNELS, Feature, Interface
from .program import Function, Variable


def prepared(
    given: Mapping[str, Any], interface: Interface, function: Function, arithmetic: Arithmetic, allow_nan: bool
) -> dict[str, Any]:
    """The function's tensors by name, each in its carrier.

    Raises InputError when an input is missing, unknown, of the wrong shape or type, or holds a NaN.
    """
    expected = [f.name for f in interface.inputs]
    for name in given:
        if name not in expected:
            raise InputError(f"unknown input {name!r}; the model's inputs are {', '.join(expected)}")
    declared = {i.name: i for i in function.inputs}
    return {f.name: _input(f, given.get(f.name), declared[f.name], arithmetic, allow_nan) for f in interface.inputs}


def _input(feature: Feature, value: Any, variable: Variable, arithmetic: Arithmetic, allow_nan: bool) -> Tensor:
    if value is None:
        value = _default(feature)
    array = picture_array(feature, value) if feature.kind == "image" else _array(feature, value)
    dtype = variable.type.dtype
    if dtype is None:
        raise InputError(f"the input {feature.name!r} is of kind {variable.type.kind}, which cannot be given")
    if variable.type.shape == () and array.size == 1:
        array = array.reshape(())
    elif not feature.accepts(array.shape):
        raise InputError(f"input {feature.name!r} expects shape {feature.expected()}, got {_by(array.shape)}")
    if array.dtype.kind == "f" and not dtype.is_float:
        raise InputError(f"input {feature.name!r} expects {feature.dtype} values, got {array.dtype}")
    if not allow_nan and array.dtype.kind == "f" and np.isnan(array).any():
        raise InputError(f"input {feature.name!r} holds a NaN")
    tensor = torch.from_numpy(np.require(array, requirements=["C", "W"]).reshape(array.shape))
    through = arithmetic.through(dtype)
    return (tensor if through is None else tensor.to(through)).to(arithmetic.carrier(dtype))


def _default(feature: Feature) -> np.ndarray:
    if not feature.optional or feature.shape is None:
        raise InputError(f"the input {feature.name!r} is missing; it expects shape {feature.expected()}")
    return np.full(feature.shape, feature.default or 0, np.float32)


def _array(feature: Feature, value: Any) -> np.ndarray:
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        got = type(value).__name__ if array.dtype.kind == "O" else str(array.dtype)
        raise InputError(f"input {feature.name!r} expects numbers of {feature.dtype}, got {got}")
    if array.dtype in (np.uint16, np.uint32, np.uint64):
        array = array.astype(np.int64)
    if array.dtype == np.longdouble and np.longdouble is not np.float64:
        array = array.astype(np.float64)
    return (
        array
        if array.dtype.isnative and all(s >= 0 for s in array.strides)
        else array.astype(array.dtype.newbyteorder("="))
    )


def picture_array(feature: Feature, value: Any) -> np.ndarray:
    """A PIL image or array as (1, channels, H, W) in the colour layout of `feature`, values 0..255."""
    colour = feature.colour or "RGB"
    if hasattr(value, "convert"):  # a PIL image
        pil_mode = {"GRAYSCALE": "L", "GRAYSCALE_FLOAT16": "F"}.get(colour, "RGB")
        pixels = np.asarray(value if value.mode == pil_mode else value.convert(pil_mode))
    else:
        pixels = _array(feature, value)
        if pixels.ndim == 4:
            return pixels
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] != CHANNELS[colour]:
        raise InputError(
            f"input {feature.name!r} expects a {colour} picture: a PIL image or an array (H, W, {CHANNELS[colour]}), "
            f"got shape {_by(pixels.shape)}"
        )
    channels_first = pixels.transpose(2, 0, 1)
    return (channels_first[::-1] if colour == "BGR" else channels_first)[None].astype(np.float32)


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def delivered(values: Mapping[str, Any], interface: Interface, arithmetic: Arithmetic) -> dict[str, Any]:
    """The outputs by name: arrays of the described type (float64 in exact mode), labels, dictionaries, PIL images."""
    return {f.name: _output(f, values[f.name], arithmetic) for f in interface.outputs}


def _output(feature: Feature, value: Any, arithmetic: Arithmetic) -> Any:
    if not isinstance(value, Tensor):
        return value
    array = value.numpy()
    if feature.kind == "image":
        return picture(feature, array)
    if feature.kind == "label":
        return array.reshape(-1)[0].item()
    if array.dtype.kind == "f" and arithmetic.mode == "exact":
        return array.copy()
    return array.astype(feature.dtype if feature.dtype != "string" else array.dtype)


def picture(feature: Feature, array: np.ndarray) -> Any:
    """The first of (N, channels, H, W) as a PIL image, values rounded and held within 0..255."""
    from PIL import Image

    if feature.colour == "GRAYSCALE_FLOAT16":
        return Image.fromarray(array[0, 0].astype(np.float32))
    pixels = np.clip(np.rint(array[0]), 0, 255).astype(np.uint8)
    if feature.colour == "GRAYSCALE":
        return Image.fromarray(pixels[0])
    return Image.fromarray(
        np.ascontiguousarray((pixels[::-1] if feature.colour == "BGR" else pixels).transpose(1, 2, 0))
    )
