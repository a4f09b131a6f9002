"""What one run of the exporter is asked to do, from the model to the checks, as plain values."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .request import Request

if TYPE_CHECKING:
    from torch import nn

    from ..models.inputs import Given


@dataclass(frozen=True)
class Source:
    """Which model, and which weights: a checkpoint, published ones ("official", "timm", "any"), or conditioned ones.

    `variant` is a name of `fuseport list`, timm/NAME, or FILE.py:NAME; with a `module` from Python it is that one's
    name. The `inputs` of the latter two have to be told. `own_weights` keeps those that their code gives them.
    """

    variant: str
    checkpoint: Path | None = None
    checkpoint_key: str | None = None
    pretrained: str | None = None
    num_classes: int | None = None
    in_chans: int = 3
    model_args: dict[str, object] = field(default_factory=dict)
    image_size: int | None = None
    inputs: tuple[Given, ...] = ()
    own_weights: bool = False
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    """What the pictures of a user's own model are normalised with, in 0..1; by default ImageNet's."""
    module: nn.Module | None = None
    seed: int = 0

    @property
    def is_file(self) -> bool:
        """Whether the variant is a place in a Python file."""
        return re.search(r"\.py(:|$)", self.variant) is not None

    @property
    def portable(self) -> Source:
        """As a report tells it: a user's own code is not named, for nobody should run code because a report says so."""
        return replace(self, variant="", module=None) if self.is_file or self.module is not None else self

    @property
    def stem(self) -> str:
        """A file name for what is made of it, without folders and suffix."""
        if not self.is_file:
            return self.variant.replace("/", "_")
        return re.sub(r"\W+", "_", re.sub(r"\.py(:|$)", r"\1", Path(self.variant).name)).strip("_")

    @property
    def batch(self) -> int | None:
        """Samples at a time, where the shapes of the inputs tell it."""
        return self.inputs[0].shape[0] if self.inputs and self.inputs[0].shape else None


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
    batch_size: int | None = None
    """By default the one that the inputs of the source tell, or 1."""
    output_dir: Path = Path()
    name: str | None = None
    input_name: str | None = None
    output_name: str | None = None

    @property
    def stem(self) -> str:
        """Name of the files, without suffix: net_build for a/net.py:build."""
        return self.name or self.source.stem

    @property
    def batch(self) -> int:
        """Samples that a file takes at a time."""
        return self.batch_size or self.source.batch or 1
