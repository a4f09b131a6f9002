"""What the user asked for, checked once, before any work begins."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BatchRange:
    """A batch dimension that is left open: from `lower` up to `upper` pictures; `upper` None means unbounded."""

    lower: int = 1
    upper: int | None = None


@dataclass(frozen=True)
class ImageInput:
    """The artifact takes pictures of 0..255 instead of a normalised tensor.

    `layout` ("nhwc" or "nchw") is that of the ONNX uint8 input; Core ML always takes an RGB picture. The captured
    program takes x / 255 - mean (the channel std is folded into its weights), so a format divides by 255, subtracts
    `mean` (0..1, per channel), and does nothing else.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    colour: str = "RGB"
    layout: str = "nhwc"


@dataclass(frozen=True)
class Request:
    """The options that the formats read. Names of inputs and outputs are those of the captured program."""

    precision: str = "float16"
    float32: tuple[str, ...] = ()
    """Nodes of the legalized program that a float16 file keeps in float32; `precision/` finds them."""
    opset: int | None = None
    deployment_target: str = "iOS16"
    batch: BatchRange | None = None
    image_input: ImageInput | None = None
    labels: tuple[str, ...] | None = None
    simplify: bool = True
    external_data: bool = False
