"""What can run a saved file on this machine: one engine for ONNX, up to three for Core ML.

A Core ML package is run by our executor (`mil/`) on any system, in two arithmetics that split its error: `exact`
(float64 on the weights as stored) shows what the conversion changed, `declared` (rounded as the program declares) what
its precision adds. On macOS Core ML itself runs as well, with its own verdict.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from .. import mil
from . import to_coreml, to_onnx
from .artifact import Artifact, NotRun
from .forced import Rounds
from .subject import Values

Runner = Callable[[Values], Values]


@dataclass(frozen=True)
class Engine:
    """One way to run a file. `rounds` says what of the file's precision its answers have suffered."""

    name: str
    run: Runner | NotRun
    rounds: Rounds = "all values"


def engines(artifact: Artifact) -> tuple[Engine, ...]:
    """Every engine for the format of `artifact`, the saved file opened; NotRun in place of one that cannot run it."""
    if artifact.format == to_onnx.NAME:
        return (Engine("ONNX Runtime, CPU", to_onnx.runner(artifact)),)
    return (
        Engine("executor, exact", _executor(artifact, "exact"), rounds="weights"),
        Engine("executor, declared", _executor(artifact, "declared")),
        *_core_ml(artifact),
    )


def fastest(artifact: Artifact) -> Runner | NotRun:
    """The engine whose latency is worth knowing: a runtime, not the executor, whose speed says nothing of a phone."""
    if artifact.format == to_onnx.NAME:
        return to_onnx.runner(artifact)
    return to_coreml.runner(artifact)


def _core_ml(artifact: Artifact) -> tuple[Engine, ...]:
    """Core ML itself with every compute unit, on macOS."""
    run = to_coreml.runner(artifact)
    return () if isinstance(run, NotRun) else (Engine("Core ML, all compute units", run),)


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
