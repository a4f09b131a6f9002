"""Lets unmodified scripts that use `coremltools.models.MLModel(path).predict(...)` run off macOS.

coremltools hands predictions to a native class that only exists on macOS. Inside `with drop_in():` that class is this
one, which executes the saved package with `fuseport.mil`; models loaded inside keep working after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import torch

from .arithmetic import Mode
from .errors import MilError
from .features import Feature
from .model import Model, States, load
from .schema import NEWEST_SPECIFICATION

MACOS_WITH_STATE = (15, 0)
"""coremltools offers state from this macOS on, and asks for the version."""

Observer = Callable[[Model], None]


@contextmanager
def drop_in(mode: Mode = "declared", observer: Observer | None = None) -> Iterator[None]:
    """While open, coremltools' MLModel loads and predicts with this package's executor, in arithmetic `mode`.

    `observer` is told of the model at every prediction.
    """
    import coremltools.models.model as target

    class Proxy(ModelProxy):
        arithmetic_mode = mode
        on_predict = staticmethod(observer) if observer else None

    with ExitStack() as stack:
        stack.enter_context(replaced(target, "_MLModelProxy", Proxy))
        stack.enter_context(replaced(target, "_is_macos", lambda: True))
        stack.enter_context(replaced(target, "_macos_version", lambda: MACOS_WITH_STATE))
        yield


@contextmanager
def replaced(module: ModuleType, name: str, value: object) -> Iterator[None]:
    """While open, `module.name` is `value`."""
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


class StateProxy:
    """What coremltools' MLState wraps: state by name, as arrays."""

    def __init__(self, states: States) -> None:
        self.states = states

    def read_state(self, name: str) -> np.ndarray:
        """A copy of the state's tensor; raises RuntimeError for an unknown name."""
        return self._named(name).value.numpy().copy()

    def write_state(self, name: str, value: np.ndarray) -> None:
        """Replace the state's tensor; raises RuntimeError for an unknown name or another shape."""
        state = self._named(name)
        new = torch.from_numpy(np.array(value)).to(state.value.dtype)
        if new.shape != state.value.shape:
            raise RuntimeError(f"state {name!r} has shape {tuple(state.value.shape)}, got {tuple(new.shape)}")
        state.value = new

    def _named(self, name: str) -> Any:
        if name not in self.states:
            raise RuntimeError(f"unknown state {name!r}; known: {', '.join(self.states) or 'none'}")
        return self.states[name]


class ModelProxy:
    """The interface of coremltools' native proxy, as far as MLModel uses it for ML Programs."""

    arithmetic_mode: Mode = "declared"
    on_predict: Observer | None = None

    @staticmethod
    def maximum_supported_specification_version() -> int:
        return NEWEST_SPECIFICATION

    def __init__(
        self,
        path: str,
        compute_units: str = "ALL",
        function_name: str = "",
        optimization_hints: dict[str, Any] | None = None,
        asset: object = None,
    ) -> None:
        """Load `path`; raises RuntimeError, which MLModel turns into "predict is not available"."""
        try:
            self.model = load(path, function=function_name or None)
        except MilError as error:
            raise RuntimeError(str(error)) from None

    def newState(self) -> StateProxy:
        return StateProxy(self.model.make_state())

    def predict(self, data: dict[str, Any], state: StateProxy | None = None) -> dict[str, Any]:
        """Outputs by name; raises RuntimeError in the framework's words."""
        if self.on_predict is not None:
            self.on_predict(self.model)
        inputs = {f.name: _bridged(f, data[f.name]) for f in self.model.inputs if data.get(f.name) is not None}
        try:
            states = state.states if state else None
            found = self.model.predict(inputs, mode=self.arithmetic_mode, state=states, allow_nan=True)
        except MilError as error:
            raise RuntimeError(f"Unable to compute the prediction using ML Program: {error}") from None
        return {name: _no_scalar(value) for name, value in found.items()}

    def batchPredict(self, data: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [self.predict(one) for one in data]


def _bridged(feature: Feature, value: Any) -> Any:
    """`value` in the described type: the framework's bridge converts arrays without asking."""
    if feature.kind == "tensor" and isinstance(value, (np.ndarray, float, int, list)):
        return np.asarray(value).astype(feature.dtype)
    return value


def _no_scalar(value: Any) -> Any:
    """Core ML has no scalar arrays: one element comes out as a vector."""
    return value.reshape(1) if isinstance(value, np.ndarray) and value.ndim == 0 else value
