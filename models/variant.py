"""The nouns of the model side: a variant, how its pictures are prepared, and what was published about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """How a picture file becomes a network input: resize the shorter side, crop the centre, scale to 0..1, normalise.

    `size` and `resize` are in pixels; `mean` and `std` are per channel, in the range 0..1, in the order of `colour`.
    Where a network takes no squares, `size` is the height and `width` the width. `squash` resizes both sides to
    `resize`, whatever that does to the proportions.
    """

    size: int
    resize: int
    interpolation: str = "bicubic"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    colour: str = "RGB"
    width: int | None = None
    squash: bool = False

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of the network's input, in pixels."""
        return self.size, self.width or self.size

    def at(self, size: int) -> Preprocessing:
        """The same for squares of another size, the margin around the crop kept in proportion."""
        return replace(self, size=size, width=None, resize=int(self.resize / self.size * size))


@dataclass(frozen=True)
class Claim:
    """A published figure; `text` is how `source` prints it.

    `what` is one of parameters, macs, seed_gflops (in the counting of `swag_cost.py`), top1_percent, latency_ms.

    `value` is in units of one (28.5 M parameters are 28.5e6), percent, or milliseconds.
    """

    what: str
    text: str
    value: float
    source: str


@dataclass(frozen=True)
class Download:
    """One file of trained weights on the web.

    `layout` is "official", or "timm" or "torchvision", whose keys differ; `sha256` is None where none is stated.
    """

    url: str
    layout: str
    sha256: str | None = None


@dataclass(frozen=True)
class Variant:
    """One named model: how to build it, what it eats, and what is known of it.

    `build(num_classes=…, in_chans=…, **model_args)` returns the module. Parameters and MACs are ours, measured, for
    1000 classes at `preprocessing.size`; MACs count convolutions, linears and matrix products (no bias, norm or
    activation). Both are None for a variant that is not in our table, `preprocessing` where the input is no picture.
    `num_classes` is that of the published weights.
    `timm` is the architecture of the same name in timm, whose key layout is accepted as well.
    """

    name: str
    family: str
    build: Callable[..., nn.Module]
    preprocessing: Preprocessing | None
    parameters: int | None
    macs: int | None
    parameters_fused: int | None = None
    timm: str | None = None
    weights_of: str | None = None
    """The variant with the same weights under the same keys, where this one only computes otherwise."""
    claims: tuple[Claim, ...] = ()
    downloads: tuple[Download, ...] = ()
    paper: str = ""
    model_args: dict[str, str] = field(default_factory=dict)
    """Options of `build` beside num_classes and in_chans, each with one line of help; `image_size` is one where the
    network itself depends on the size of its pictures."""
    num_classes: int = 1000


def wrong_claims(variant: Variant) -> tuple[tuple[Claim, str], ...]:
    """The published parameters and MACs that measurement contradicts, each with what was measured.

    A claim stands if it is off by less than one step of its last printed digit: that covers rounding, cutting off, and
    the pooling terms that some counters add. Parameters may be counted before or after folding the batch norms.
    Accuracy and latency are not judged: nothing here measures them.
    """
    counts = {"parameters": (variant.parameters, variant.parameters_fused), "macs": (variant.macs,)}
    wrong = []
    for claim in variant.claims:
        measured = [count for count in counts.get(claim.what, ()) if count is not None]
        if measured and not any(_prints_as(count, claim) for count in measured):
            wrong.append((claim, "measured " + " or ".join(f"{count:,}" for count in measured)))
    return tuple(wrong)


def _prints_as(measured: int, claim: Claim) -> bool:
    """Whether `measured` is within one step of the last digit of `claim.text`, as "26.5 M" has steps of 0.1 M."""
    printed = claim.text.split()[0]
    step = claim.value / float(printed) * 10.0 ** -len(printed.partition(".")[2])
    return abs(measured - claim.value) < step


def require_pictures(x: Tensor, *, channels: int, smallest: int) -> None:
    """Raise ValueError unless `x` is a batch (B, channels, H, W) with both H and W of at least `smallest` pixels."""
    expected = f"expected pictures of shape (batch, {channels}, height, width), both at least {smallest} pixels"
    if x.ndim != 4 or x.shape[1] != channels or x.shape[2] < smallest or x.shape[3] < smallest:
        raise ValueError(f"{expected}; got {tuple(x.shape)}")
