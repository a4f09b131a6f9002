"""The nouns of the model side: a variant, how its pictures are prepared, and what was published about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """How a picture file becomes a network input: resize the shorter side, crop the centre, scale to 0..1, normalise.

    `size` and `resize` are in pixels; `mean` and `std` are per channel, in the range 0..1, in the order of `colour`.
    """

    size: int
    resize: int
    interpolation: str = "bicubic"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    colour: str = "RGB"


@dataclass(frozen=True)
class Claim:
    """A published figure. `what` is one of parameters, macs, top1_percent, latency_ms; `text` is printed at `source`.

    `value` is in units of one (28.5 M parameters are 28.5e6), percent, or milliseconds.
    """

    what: str
    text: str
    value: float
    source: str


@dataclass(frozen=True)
class Download:
    """One file of trained weights on the web.

    `layout` is "official" or "timm" (whose keys differ); `sha256` is None where the publisher states none.
    """

    url: str
    layout: str
    sha256: str | None = None


@dataclass(frozen=True)
class Variant:
    """One named model: how to build it, what it eats, and what is known of it.

    `build(num_classes=…, in_chans=…, **model_args)` returns the module. Parameters and MACs are ours, measured, for
    1000 classes at `preprocessing.size`; MACs count convolutions, linears and matrix products (no bias, norm or
    activation).
    `timm` is the architecture of the same name in timm, whose key layout is accepted as well.
    """

    name: str
    family: str
    build: Callable[..., nn.Module]
    preprocessing: Preprocessing
    parameters: int
    macs: int
    parameters_fused: int | None = None
    timm: str | None = None
    claims: tuple[Claim, ...] = ()
    downloads: tuple[Download, ...] = ()
    paper: str = ""
    model_args: dict[str, str] = field(default_factory=dict)
    """Options of `build` beside num_classes and in_chans, each with one line of help."""
