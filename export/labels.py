"""The names of the classes, in the order of the logits: from a file of the user's, or those of ImageNet-1k.

Names must differ: Core ML gives probabilities as a dictionary from name to number, and equal names would be one entry.
ImageNet has two cranes (a bird, a machine) and two maillots; those carry their WordNet id.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

IMAGENET = "imagenet-1k"


class BadLabels(ValueError):
    """The labels cannot name the classes of this model; the message is one line that says why."""


def read_labels(source: str | Path, classes: int) -> tuple[str, ...]:
    """`classes` names from a UTF-8 text file, one a line, or from timm's table for "imagenet-1k".

    Raises BadLabels for another number of names, an empty name, or one that occurs twice.
    """
    names = _imagenet() if str(source) == IMAGENET else _lines(Path(source))
    if len(names) != classes:
        raise BadLabels(f"the model has {classes} classes, but {source} names {len(names)}; give one name a line")
    if "" in names:
        raise BadLabels(f"{source}: line {names.index('') + 1} is empty; give one name a line")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise BadLabels(f"{source}: {twice[0]!r} names {names.count(twice[0])} classes; names must differ")
    return tuple(names)


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadLabels(f"cannot read the labels {path}: {_reason(error)}; give a UTF-8 file, or {IMAGENET}") from error
    return [line.strip() for line in text.rstrip().split("\n")] if text.strip() else []


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return "not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror or str(error)


def _imagenet() -> list[str]:
    """The first of timm's names for each class ("tench"), with the WordNet id where two classes share it."""
    from timm.data.imagenet_info import ImageNetInfo

    table = ImageNetInfo(IMAGENET)
    names = [table.index_to_description(at).split(",")[0] for at in range(table.num_classes())]
    count = Counter(names)
    return [name if count[name] == 1 else f"{name} ({table.index_to_label_name(at)})" for at, name in enumerate(names)]
