"""What one run of the exporter is asked to do, from the model to the checks, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .request import Request


@dataclass(frozen=True)
class Source:
    """Which model, and which weights: a checkpoint, published ones ("official", "timm", "any"), or conditioned ones."""

    variant: str
    checkpoint: Path | None = None
    checkpoint_key: str | None = None
    pretrained: str | None = None
    num_classes: int | None = None
    in_chans: int = 3
    model_args: dict[str, object] = field(default_factory=dict)
    image_size: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Checks:
    """How the saved files are proven: on `samples` seeded pictures, or on those of the folder `images`."""

    samples: int = 4
    images: Path | None = None
    atol: float | None = None
    rtol: float | None = None
    require_parity: bool = False
    benchmark: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Job:
    """A whole run. `image_input` is None, "nhwc" or "nchw"; the formats' own options are in `request`."""

    source: Source
    formats: tuple[str, ...]
    request: Request
    checks: Checks = Checks()
    find_precision: bool = False
    """Whether to search for what a float16 Core ML file must keep in float32, where its check fails."""
    precision_file: Path | None = None
    """What such a search has found, to be used again."""
    image_input: str | None = None
    labels: str | None = None
    batch_size: int = 1
    output_dir: Path = Path()
    name: str | None = None
    input_name: str = "image"
    output_name: str | None = None

    @property
    def stem(self) -> str:
        """Name of the files, without suffix."""
        return self.name or self.source.variant.replace("/", "_")
