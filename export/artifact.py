"""The nouns of a conversion: the file that was written, its tensors, and a stage that could not run here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of an artifact. A shape entry is an int, or a name such as "batch" where it is open."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str
    kind: str = "tensor"
    """"tensor", "image" (a picture of 0..255) or "label" (the name of the most probable class)."""


@dataclass(frozen=True)
class Artifact:
    """A saved model file (for Core ML a folder), as it lies on the disk."""

    path: Path
    format: str
    precision: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    bytes: int
    sha256: str
    operations: dict[str, int]
    """Operator type → count; constants are not counted."""
    export_id: str
    versions: dict[str, str]
    details: dict[str, object]
    """What only this format has to say: opset, deployment target, external data, simplified or not and why."""

    @property
    def operation_count(self) -> int:
        return sum(self.operations.values())


@dataclass(frozen=True)
class NotRun:
    """A stage that could not run here, as a value."""

    reason: str
