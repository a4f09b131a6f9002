"""The last operator of a classifier (MIL: `classify`)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .operator import Labels, Table


def classify(probabilities: Tensor, classes: Labels) -> list[Any]:
    """The label of the largest probability, and the dictionary label → probability."""
    values = probabilities.reshape(-1)
    if len(classes) != values.numel():
        raise ValueError(f"{len(classes)} classes for {values.numel()} probabilities")
    return [classes[int(values.argmax())], dict(zip(classes, values.tolist(), strict=True))]


COMPUTED: Table = {}
MOVED: Table = {"classify": classify}
