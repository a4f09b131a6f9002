"""Our executor of ML Programs, for Core ML packages on any system: on request, since it is not the device.

Its speed says how long a check takes, nothing about a phone.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ... import mil
from ..artifact import BATCH, TensorSpec
from ..given import Given
from ..subject import Values
from .backend import Backend, CannotRun, Opened

NOTE = "our executor on this CPU, not the device"


def _interpreter(given: Given, threads: int) -> Opened:
    """Threads are torch's, set for the whole process by whoever measures."""
    model = _load(given)
    return _opened(model, model)


def _engine(given: Given, threads: int) -> Opened:
    model = _load(given)
    return _opened(model, mil.accelerate(model, threads=threads))


def _load(given: Given) -> mil.Model:
    try:
        return mil.load(given.file)
    except mil.MilError as error:
        raise CannotRun(f"the executor cannot run {given.name}: {error}") from error


def _opened(model: mil.Model, engine: Any) -> Opened:
    inputs = tuple(_spec(feature) for feature in model.inputs)
    return Opened(inputs, partial(_predict, engine, {spec.name for spec in inputs if spec.kind == "image"}))


def _spec(feature: mil.Feature) -> TensorSpec:
    if feature.shape is None or feature.kind not in ("tensor", "image"):
        raise CannotRun(f"its input {feature.name} is a {feature.kind}; expected tensors or pictures")
    if feature.kind == "image":
        _, channels, height, width = feature.shape
        return TensorSpec(feature.name, (1, height, width, channels), "uint8", "image")
    shape: tuple[int | str, ...] = feature.shape
    if feature.ranges and feature.ranges[0][0] != feature.ranges[0][1]:
        shape = (BATCH, *shape[1:])
    return TensorSpec(feature.name, shape, feature.dtype)


def _predict(engine: Any, pictures: set[str], feed: Values) -> object:
    return engine.predict({name: value[0] if name in pictures else value for name, value in feed.items()})


def _missing() -> str:
    return ""


BACKENDS = (
    Backend("executor", "executor, interpreter", "coreml", _interpreter, _missing, "on request", NOTE),
    Backend("executor-onnx", "executor, ONNX engine", "coreml", _engine, _missing, "on request", NOTE),
)
