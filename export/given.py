"""What a user names to have it profiled or counted: a saved file, or a model by its name, with its own options.

shvit_s4.onnx   shvit_s4.mlpackage   shvit_s4   shvit_s3:features=true   tome_vit_l16_in1k:r=20   net.py:build
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from .artifact import files_of
from .job import Source

Kind = Literal["model", "onnx", "coreml"]
SUFFIXES: dict[str, Kind] = {".onnx": "onnx", ".mlpackage": "coreml"}


class NotGiven(ValueError):
    """What was named is neither a saved file that can be read nor a model; the message is one line."""


@dataclass(frozen=True)
class Given:
    """One subject: a file by its `path`, or a model by its `source`."""

    name: str
    kind: Kind
    path: Path | None = None
    source: Source | None = None

    @property
    def file(self) -> Path:
        """The path of an artifact."""
        assert self.path is not None, f"{self.name} is no file"
        return self.path

    @property
    def model(self) -> Source:
        """The source of a model."""
        assert self.source is not None, f"{self.name} is no model"
        return self.source


def given(text: str, source: Source) -> Given:
    """The subject that `text` names; `source` has the options that hold for every model, those in `text` come on top.

    Raises NotGiven for a missing or unknown file; whether there is such a model is asked when it is built.
    """
    kind = SUFFIXES.get(Path(text).suffix)
    if kind is not None:
        return Given(Path(text).name, kind, path=_existing(Path(text), kind))
    if (own := replace(source, variant=text)).is_file:
        return Given(text, "model", source=own)
    if Path(text).exists():
        known = ", ".join(SUFFIXES)
        raise NotGiven(f"{text} is not an artifact: expected a file that ends in {known}, or the name of a model")
    name, _, options = text.partition(":")
    return Given(text, "model", source=replace(source, variant=name, model_args={**source.model_args, **_own(options)}))


def _existing(path: Path, kind: Kind) -> Path:
    if not path.exists():
        raise NotGiven(f"{path} does not exist; expected an exported file, or the name of a model")
    if path.is_dir() != (kind == "coreml"):
        found, wanted = ("a folder", "a file") if path.is_dir() else ("a file", "a folder")
        raise NotGiven(f"{path} is {found}; expected {wanted} as `export-model --format {kind}` writes it")
    if not any(file.stat().st_size for file in files_of(path)):
        raise NotGiven(f"{path} is empty; export it again")
    return path


def _own(options: str) -> dict[str, object]:
    from .commands.model_options import model_arg

    return dict(model_arg(pair) for pair in options.split(",") if pair)
