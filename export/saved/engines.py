"""What can run a saved file on this machine: one engine for ONNX, up to three for Core ML.

A Core ML package is run by our executor (`mil/`) on any system, in two arithmetics that split its error: `exact`
(float64 on the weights as stored) shows what the conversion changed, `declared` (rounded as the program declares) what
its precision adds. On macOS Core ML itself runs as well, with its own verdict.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from ... import mil
from ..artifact import Artifact, NotRun
from ..formats import to_coreml, to_onnx
from ..proof.forced import Rounds
from ..subject import Values

Runner = Callable[[Values], Values]


@dataclass(frozen=True)
class Engine:
    """One way to run a file, opened when it is used. `rounds` says what of its precision the answers have suffered."""

    name: str
    open: Callable[[], Runner | NotRun]
    rounds: Rounds = "all values"


def engines(artifact: Artifact) -> tuple[Engine, ...]:
    """Every engine for the format of `artifact` on this system; one that cannot run the file opens as NotRun.

    Each holds the weights in its own form, so a big model is run in one after the other.
    """
    if artifact.format == to_onnx.NAME:
        return (Engine("ONNX Runtime, CPU", partial(to_onnx.runner, artifact)),)
    core_ml = (Engine("Core ML, all compute units", partial(to_coreml.runner, artifact)),)
    return (
        Engine("executor, exact", partial(_executor, artifact, "exact"), rounds="weights"),
        Engine("executor, declared", partial(_executor, artifact, "declared")),
        *(core_ml if sys.platform == "darwin" else ()),
    )


def fastest(artifact: Artifact) -> Runner | NotRun:
    """The engine whose latency is worth knowing: a runtime, not the executor, whose speed says nothing of a phone."""
    if artifact.format == to_onnx.NAME:
        return to_onnx.runner(artifact)
    return to_coreml.runner(artifact)


def _executor(artifact: Artifact, mode: mil.Mode) -> Runner | NotRun:
    try:
        model = mil.load(artifact.path)
    except mil.MilError as error:
        return NotRun(f"the executor cannot run it: {error}")
    return partial(_predict, model, artifact, mode)


def _predict(model: mil.Model, artifact: Artifact, mode: mil.Mode, feeds: Values) -> Values:
    pictures = {given.name for given in artifact.inputs if given.kind == "image"}
    results = model.predict({name: value[0] if name in pictures else value for name, value in feeds.items()}, mode=mode)
    tensors = {output.name for output in artifact.outputs if output.kind == "tensor"}
    return {name: np.asarray(value) for name, value in results.items() if name in tensors}
