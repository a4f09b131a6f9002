"""What is asked to be checked: each file, opened, with its reference and the job that builds the model for it.

Files of one model are brought together, so that a model is loaded, folded and run once for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...models.loaded import Loaded
from ...validate.verdict import Tolerance
from ..artifact import Artifact, TensorSpec
from ..job import Checks, Job, Source
from ..proof.check import tolerance
from ..request import Request
from ..saved.opened import open_artifact
from .against import Against, against
from .mapping import COLOURS, RANGES
from .stored import Stored


@dataclass(frozen=True)
class Asked:
    """What is to be checked. `source` is the model that the options name (its variant "" if none)."""

    artifacts: tuple[Path, ...]
    against: str | None = None
    source: Source | None = None
    checks: Checks = field(default_factory=Checks)
    inputs: Path | Stored | None = None
    """A .npz (or its arrays) with the inputs, and maybe the outputs that are expected."""
    input_map: Mapping[str, str] = field(default_factory=dict)
    output_map: Mapping[str, str] = field(default_factory=dict)
    """File's name → model's."""
    input_range: str = "normalised"
    """What a file's float picture input takes: one of `mapping.RANGES`."""
    loaded: Loaded | None = None
    """A model that is at hand already, in place of all that would name one."""
    limits: Mapping[Path, Tolerance] = field(default_factory=dict)
    """Tolerances that were accepted for single files; those of `checks` come first."""

    def limit(self, artifact: Artifact) -> Tolerance | None:
        """The tolerance that a file is held to; None for the measured bound."""
        return tolerance(self.checks) or self.limits.get(artifact.path)


@dataclass(frozen=True)
class Target:
    """One file with its reference, and the job that builds the model for it."""

    artifact: Artifact
    against: Against
    job: Job | None


def target(path: Path, asked: Asked, stored: Stored | None) -> Target:
    """The file at `path`, opened, with what it is to be checked against. Raises ValueError with one line."""
    artifact = open_artifact(path)
    expected = stored is not None and stored.has_outputs(artifact)
    if asked.loaded is not None and asked.source is not None:
        chosen = Against(asked.source)
    else:
        chosen = against(path, asked.against, asked.source, stored=expected)
    if chosen.source is None:
        return Target(artifact, chosen, None)
    picture = next((given for given in artifact.inputs if given.kind == "image"), None)
    pixels = picture is not None or RANGES[asked.input_range] is not None
    source = chosen.source
    told = source.image_size is not None or source.is_file or chosen.recorded is not None
    if not told and (side := _side(artifact)):
        source = replace(source, image_size=side)
    size = batch_of(artifact) or 1
    job = Job(source, (), Request(), asked.checks, image_input="nhwc" if pixels else None, batch_size=size)
    return Target(artifact, chosen, job)


def batch_of(artifact: Artifact) -> int | None:
    """Samples that the file takes at a time; None if any number."""
    size = artifact.inputs[0].shape[0] if artifact.inputs and artifact.inputs[0].shape else None
    return size if isinstance(size, int) else None


def _side(artifact: Artifact) -> int | None:
    """Height and width of the file's only picture-like input, where they are fixed and equal."""
    found = {_sides(given) for given in artifact.inputs} - {None}
    return found.pop() if len(found) == 1 else None


def _sides(given: TensorSpec) -> int | None:
    shape = given.shape
    if len(shape) != 4:
        return None
    height, width = shape[1:3] if shape[3] in COLOURS else shape[2:4]
    return height if isinstance(height, int) and height == width else None


def by_model(targets: list[Target]) -> Iterator[list[Target]]:
    """The files of one model together, so that it is loaded once; of one reference where several share it."""
    groups: dict[str, list[Target]] = {}
    for target in targets:
        groups.setdefault(repr(target.job), []).append(target)
    yield from groups.values()
