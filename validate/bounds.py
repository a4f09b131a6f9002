"""How far an artifact may be from the model: errors in the output's own units, and bounds from a measured yardstick.

Three runs of the same pictures are compared: the model in float64 (the truth), the model in float32 (the reference: its
distance from the truth is the *floor*, what rounding alone does to this model) and the artifact. A fixed tolerance
would blame the converter for a badly conditioned model and miss a fault in a well conditioned one; so the artifact may
err by a factor of a yardstick: the floor, or what its precision does to the model in PyTorch.

Errors are taken sample by sample, in two norms, and each must hold for each sample:

    l2    ||a - t|| / ||t||        a drift of everything: a wrong epsilon, a lost bias, a wrong normalisation
    peak  max |a - t| / rms(t)     one wrong element: a class, a channel or a pixel, which l2 dilutes by 1 / sqrt(size)

A mean over the samples would let seven good pictures hide a bad one. A sample is held to the larger of its own
yardstick and the batch's median, because the error of one sample can be small by luck.

The factors come from ten networks (SHViT, SwiftFormer, ResNet, MobileNetV4, RepViT, FastViT, EfficientNet, ConvNeXt V2,
MobileViT V2, DeiT) with conditioned weights on eight pictures:

    float32  ONNX Runtime errs by 0.9 to 3.2 x the floor, which is 3e-7 to 4e-6; other kernels and folded weights may
             cost more, and the faults worth finding start at 1e3 x the floor: factor 20
    float16  rounding after every operator, or PyTorch's own half kernels, err by 0.9 to 1.6 x the model with weights
             and layer outputs rounded, and by up to 2.2 x the model with only its weights rounded: factor 3. Without
             such a yardstick they err by 8e-4 to 2.1e-2 of the output: 3e-2
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Norm = Literal["l2", "peak"]
NORMS: tuple[Norm, ...] = get_args(Norm)

SMALL = 32
"""Outputs with fewer values per sample give no steady yardstick (one value may be right by luck): they get at least the
bound of an unmeasured precision."""


@dataclass(frozen=True)
class Allowance:
    """What a precision may cost, each (l2, peak): `factor` x the yardstick, within `least` and `most`; `unmeasured` is
    the bound where there is no yardstick."""

    factor: float
    least: tuple[float, float]
    most: tuple[float, float]
    unmeasured: tuple[float, float]


MOST = (5e-2, 0.25)
"""Where an output stops being the model's, whatever its precision costs (26 dB)."""

ALLOWANCES = {
    "float32": Allowance(factor=20, least=(1e-5, 5e-5), most=MOST, unmeasured=(1e-4, 5e-4)),
    "float16": Allowance(factor=3, least=(1e-3, 4e-3), most=MOST, unmeasured=(3e-2, 0.12)),
}


@dataclass(frozen=True)
class Errors:
    """The distance of one run from the truth, (N,) per norm, in units of each sample's own scale."""

    l2: NDArray[np.float64]
    peak: NDArray[np.float64]

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self.l2).all() and np.isfinite(self.peak).all())


def scales(truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """rms of each sample, (N,), of `truth` (N, size).

    A sample that is nearly silent beside the others is measured by a thousandth of the whole output's rms instead, so
    that rounding around zero is not taken for a large error. All zeros give 1.
    """
    power = np.mean(truth**2, axis=1)
    scale = np.sqrt(np.maximum(power, 1e-6 * power.mean()))
    return np.where(scale > 0, scale, 1.0)


def errors(run: NDArray[np.float64], truth: NDArray[np.float64]) -> Errors:
    """The errors of `run` against `truth`, both (N, size)."""
    with np.errstate(over="ignore", invalid="ignore"):  # a run that overflowed has an infinite error, and no warning
        difference, scale = np.abs(run - truth), scales(truth)
        return Errors(np.sqrt(np.mean(difference**2, axis=1)) / scale, difference.max(axis=1) / scale)


@dataclass(frozen=True)
class Bounds:
    """The largest errors that pass, (N,) per norm, with the yardstick they were taken from."""

    l2: NDArray[np.float64]
    peak: NDArray[np.float64]
    precision: str
    yardstick: Errors | None
    of: str
    """What the yardstick is, in words."""

    def why(self, sample: int, norm: Norm) -> str:
        """Where the bound of one sample in one norm comes from, as the inside of a sentence."""
        allowance, bound = ALLOWANCES[self.precision], getattr(self, norm)[sample]
        if bound >= allowance.most[NORMS.index(norm)]:
            return "the most that passes for any precision"
        if self.yardstick is None:
            return f"the default of {self.precision}, as {self.of}"
        own = getattr(self.yardstick, norm)
        measured = max(own[sample], float(np.median(own)))
        if bound > allowance.factor * measured:
            return f"the least bound of {self.precision}; {self.of} alone costs {measured:.1e}"
        return f"{allowance.factor:g} x what {self.of} alone costs, {measured:.1e}"


def allowance_of(precision: str) -> Allowance:
    """Raises a ValueError that lists the known precisions."""
    if precision not in ALLOWANCES:
        raise ValueError(f"no parity bound for precision {precision!r}; known: {', '.join(ALLOWANCES)}")
    return ALLOWANCES[precision]


def bounds(precision: str, size: int, floor: Errors, cost: Errors | None = None, *, floor_known: bool = True) -> Bounds:
    """The bounds of an artifact of `precision` whose output has `size` values per sample.

    float32 is measured by `floor`, the reference's own errors; any other precision by `cost`, the errors of the model
    with weights (and activations) rounded to it. A cost that is not finite is no yardstick, nor is a floor that nobody
    measured (`floor_known` False). Raises a ValueError for an unknown precision.
    """
    allowance = allowance_of(precision)
    if precision == "float32" and floor_known:
        yardstick, of = floor, "float32 rounding"
    elif cost is not None and cost.finite:
        yardstick, of = (
            Errors(np.maximum(cost.l2, floor.l2), np.maximum(cost.peak, floor.peak)),
            f"{precision} rounding",
        )
    else:
        of = (
            "its cost was not measured"
            if cost is None or not floor_known
            else f"{precision} overflows in the model itself"
        )
        default = [np.full(len(floor.l2), bound) for bound in allowance.unmeasured]
        return Bounds(default[0], default[1], precision, None, of)
    least = allowance.least if size >= SMALL else allowance.unmeasured
    l2, peak = (
        np.clip(allowance.factor * np.maximum(own, np.median(own)), low, high)
        for own, low, high in zip((yardstick.l2, yardstick.peak), least, allowance.most, strict=True)
    )
    return Bounds(l2, peak, precision, yardstick, of)
