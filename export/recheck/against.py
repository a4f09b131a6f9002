"""What a file is checked against: the model of its report, a variant, a checkpoint, or nothing but stored outputs.

`--against` takes any of them: a path that ends in .json is a report, FILE.py:NAME is code of the user's, a path that
exists another way is a checkpoint, and a word is a variant. Without it the report beside the file is taken, or the
model that the other options name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ...models.loaded import Weights
from ..artifact import Artifact
from ..job import Source
from .recorded import Recorded, ReportError, changed_since, read_report, report_beside

MODEL_FIELDS = ("checkpoint", "checkpoint_key", "pretrained", "num_classes", "image_size")
"""What the command line may add to the source that a report tells: where the checkpoint lies, above all."""


class NoReference(ValueError):
    """There is nothing to check a file against; the message is one line with the next step."""


@dataclass(frozen=True)
class Against:
    """The model for one file; `recorded` is the report that told it, if one did. `source` None: only stored outputs."""

    source: Source | None
    recorded: Recorded | None = None

    def notes(self, artifact: Artifact) -> tuple[str, ...]:
        """What the report says of this very file: that it has changed, or is unknown to it."""
        clause = None if self.recorded is None else changed_since(artifact, self.recorded)
        return () if clause is None else (clause,)

    def require(self, weights: Weights) -> None:
        """Raise NoReference unless `weights` are those that the report was made with."""
        expected = None if self.recorded is None else self.recorded.weights_sha256
        if self.recorded is not None and expected is not None and weights.sha256 != expected:
            raise NoReference(
                f"{weights.source} is not the checkpoint of {self.recorded.path.name}: sha256 "
                f"{str(weights.sha256)[:12]}…, expected {expected[:12]}…; give the right one with --checkpoint"
            )


def against(artifact: Path, asked: str | None, source: Source | None, *, stored: bool) -> Against:
    """The reference for the file at `artifact`.

    `asked` is --against; `source` what the options name (its variant "" where they name none); `stored` says that
    expected outputs were given. Raises NoReference or ReportError.
    """
    if asked is not None and asked.endswith(".json"):
        return _from_report(Path(asked), source)
    if asked is not None and Path(asked).exists() and not Source(asked).is_file:
        return _from_checkpoint(artifact, Path(asked), source)
    if asked is not None:
        return Against(replace(source or Source(asked), variant=asked))
    if source is not None and source.variant:
        return Against(source)
    beside = report_beside(artifact)
    if beside is not None:
        return _from_report(beside, source)
    if stored:
        return Against(None)
    raise NoReference(
        f"{artifact}: there is nothing to check it against: no {artifact.stem}.report.json beside it; "
        "give --against VARIANT, CHECKPOINT or REPORT, or --inputs with stored outputs"
    )


def _from_report(path: Path, given: Source | None) -> Against:
    recorded = read_report(path)
    added = {name: value for name in MODEL_FIELDS if given and (value := getattr(given, name)) is not None}
    source = replace(recorded.source, **added)
    if "checkpoint" in added:
        source = replace(source, pretrained=None)
    elif source.checkpoint is not None:
        source = replace(source, checkpoint=_found(source.checkpoint, recorded))
    return Against(source, recorded)


def _found(checkpoint: Path, recorded: Recorded) -> Path:
    """The report names the file only; it is looked for beside the report and in the current folder."""
    for folder in (recorded.path.parent, Path()):
        if (folder / checkpoint).is_file():
            return folder / checkpoint
    raise NoReference(
        f"{recorded.path.name} was made from the checkpoint {checkpoint}, which is neither beside it nor here; "
        "give --checkpoint FILE"
    )


def _from_checkpoint(artifact: Path, checkpoint: Path, given: Source | None) -> Against:
    if given is not None and given.variant:
        return Against(replace(given, checkpoint=checkpoint))
    beside = report_beside(artifact)
    if beside is None:
        raise NoReference(f"--against {checkpoint} is a checkpoint: say of which model with --variant NAME")
    try:
        known = read_report(beside).source
    except ReportError as error:
        raise NoReference(f"{error}; or say which model it is with --variant NAME") from error
    return Against(replace(known, checkpoint=checkpoint, pretrained=None))
