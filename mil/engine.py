"""Predicts with ONNX Runtime what can be lowered to ONNX, the rest with the interpreter, and says which did what.

Meant for many predictions of one model: a session is built once. Arithmetic is that of declared mode. Where the two
engines differ, it is by the order of float32 sums.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .arithmetic import arithmetic
from .errors import MilError, UnsupportedOperator
from .interpreter import Interpreter
from .model import Model
from .to_onnx import Lowered, lower
from .values import delivered, prepared

LARGEST_IN_MEMORY = 1 << 30
"""Bytes of a graph that onnxruntime takes from memory; protobuf's own limit is 2 GiB."""


class Engine:
    """A model on ONNX Runtime as far as it goes. Made by `accelerate`."""

    def __init__(self, model: Model, threads: int | None = None) -> None:
        self._model = model
        self._interpreter = Interpreter(model.function, arithmetic("declared"))
        self._lowered, self._session, self._reason = self._prepare(threads)
        self._whole = self._session is not None and self._lowered is not None and self._lowered.reason is None

    def _prepare(self, threads: int | None) -> tuple[Lowered | None, Any, str]:
        """The lowered graph and its session, or None and the reason why the interpreter does it all."""
        try:
            import onnxruntime
        except ImportError:
            return None, None, "onnxruntime is not installed"
        lowered = lower(self._interpreter, rounding=True)
        if lowered.steps == 0:
            return None, None, lowered.reason or "there is nothing to lower"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(
                lowered.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's exceptions have no common base of their own
            return None, None, f"onnxruntime refuses the graph: {str(error).splitlines()[0]}"
        return lowered, session, lowered.reason or ""

    @property
    def ran(self) -> str:
        """Which engine runs what, in one line."""
        total = len(self._interpreter.plan.steps)
        if self._session is None or self._lowered is None:
            return f"interpreter, all {total} operations ({self._reason})"
        if self._whole:
            return f"onnxruntime, all {total} operations"
        rest = total - self._lowered.steps
        return f"onnxruntime, {self._lowered.steps} operations; interpreter, {rest} ({self._reason})"

    def predict(self, inputs: Mapping[str, Any], *, allow_nan: bool = False) -> dict[str, Any]:
        """The outputs by name; raises as `Model.predict` does."""
        model, rules = self._model, self._interpreter.arithmetic
        values = prepared(inputs, model.interface, model.function, rules, allow_nan)
        if self._session is None or self._lowered is None:
            return delivered(self._interpreter.run(values), model.interface, rules)
        given = {name: _array(values[name]) for name in self._lowered.inputs}
        found = self._session.run(list(self._lowered.outputs), given)
        values.update({n: torch.from_numpy(a) for n, a in zip(self._lowered.outputs, found, strict=True)})
        results = values if self._whole else self._interpreter.run(values, start=self._lowered.steps)
        return delivered(results, model.interface, rules)


def _array(value: torch.Tensor) -> np.ndarray:
    """As onnxruntime takes it: narrow integers are carried as int32."""
    array = value.numpy()
    return array.astype(np.int32) if array.dtype == np.int16 else array


def accelerate(model: Model, *, threads: int | None = None) -> Engine:
    """`model` on ONNX Runtime as far as it can be lowered; `engine.ran` says how far. Threads default to torch's."""
    return Engine(model, threads)


def save_onnx(model: Model, path: str | Path) -> Path:
    """Convert `model` to an ONNX file of the same computation in float32 and return its path.

    A final `classify` is left out: the file then gives the probabilities, and the labels lie in its metadata under
    "labels". Raises UnsupportedOperator naming the first operation that has no ONNX form.
    """
    import onnx

    interpreter, target = Interpreter(model.function, arithmetic("declared")), Path(path)
    lowered = lower(interpreter, rounding=False)
    rest = interpreter.plan.steps[lowered.steps :]
    if rest and [step.operation.type for step in rest] != ["classify"]:
        raise UnsupportedOperator(f"cannot convert to ONNX: {lowered.reason}")
    notes = {"source": model.path.name, "function": model.function.name}
    if rest:
        notes["labels"] = "\n".join(str(label) for label in rest[0].fixed["classes"])
    onnx.helper.set_model_props(lowered.model, notes)
    try:
        onnx.checker.check_model(lowered.model)
        onnx.save_model(lowered.model, str(target))
    except (OSError, onnx.checker.ValidationError) as error:
        raise MilError(f"cannot write {target}: {str(error).splitlines()[0]}") from None
    return target
