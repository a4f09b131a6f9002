"""Where in the network does a failed check begin? The first layer of the saved file whose error jumps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch.export import ExportedProgram

from ...validate.layer_errors import HALF, Layer, explain, first_jump, is_another
from ..artifact import Artifact, in_one_line
from ..subject import Subject, Values, network_input
from .forced import Rounds
from .layer_parity import compare_layers


@dataclass(frozen=True)
class Located:
    """The layer at which an error begins, None where none stands out, and a sentence for people.

    `another` says that it is no fault of a layer: the file holds another model, or other weights.
    """

    layer: Layer | None
    reason: str
    another: bool = False


def locate(
    artifact: Artifact, subject: Subject, program: ExportedProgram, feed: Values, *, rounds: Rounds, sample: int = 0
) -> Located:
    """Compare the layers of `artifact` with those of `program` on one sample of `feed` (laid out for the artifact).

    It is there to explain a failure, so it never fails itself: what stops it becomes the reason.
    """
    size = artifact.inputs[0].shape[0]
    count = len(next(iter(feed.values())))
    rows = np.minimum(np.arange(sample, sample + (size if isinstance(size, int) else 1)), count - 1)
    try:
        given = {name: values[rows] for name, values in feed.items()}
        found = compare_layers(artifact, program, given, [x[rows] for x in network_input(subject)], rounds=rounds)
    except Exception as error:  # whatever a broken file makes the runtimes raise
        return Located(None, f"its layers cannot be compared: {in_one_line(error)}")
    another = found.strange >= HALF or is_another(found.layers)
    return Located(first_jump(found.layers), explain(found.layers, found.strange), another)
