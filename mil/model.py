"""The loaded model: what it takes, what it gives, and its predictions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from .arithmetic import Mode, arithmetic
from .errors import InputError, PackageError
from .features import Feature, Interface, read_interface
from .interpreter import Interpreter
from .ops.operator import State
from .package import Package, open_package
from .plan import check_operators
from .program import Function, Operation, Variable
from .values import delivered, prepared


@dataclass(frozen=True)
class Run:
    """One prediction with what was kept of it: outputs as `predict` gives them, values by their names in the program.

    A kept value is a numpy array: float32 in declared mode (float16 values in it are exact), float64 in exact mode.
    """

    outputs: dict[str, Any]
    values: dict[str, Any] = field(repr=False)


States = dict[str, State]
"""The state of a stateful model by name: made by `Model.make_state`, read and written by predictions."""


class Model:
    """A saved ML Program, ready to predict. Made by `load`."""

    def __init__(self, package: Package, function: Function, interface: Interface) -> None:
        self._package, self._function, self._interface = package, function, interface
        self._interpreters: dict[str, Interpreter] = {}

    @property
    def path(self) -> Path:
        """Where the package lies."""
        return self._package.path

    @property
    def inputs(self) -> tuple[Feature, ...]:
        """What a prediction takes, states apart."""
        return self._interface.inputs

    @property
    def outputs(self) -> tuple[Feature, ...]:
        """What a prediction gives."""
        return self._interface.outputs

    @property
    def function(self) -> Function:
        """The function that is executed, as the file has it."""
        return self._function

    @property
    def interface(self) -> Interface:
        """Inputs, outputs and states in one."""
        return self._interface

    @property
    def functions(self) -> tuple[str, ...]:
        """Names of all functions of the package; `load(path, function=…)` picks one."""
        return tuple(self._package.functions)

    def predict(
        self,
        inputs: Mapping[str, Any],
        *,
        mode: Mode = "declared",
        state: States | None = None,
        allow_nan: bool = False,
    ) -> dict[str, Any]:
        """The outputs by name for `inputs` by name (arrays, tensors, PIL images).

        `mode` is "declared" (rounded as the program declares) or "exact" (float64, no rounding). Raises InputError for
        inputs that do not fit, ExecutionError when an operation fails or contradicts its declaration.
        """
        return self.run(inputs, mode=mode, state=state, allow_nan=allow_nan).outputs

    def run(
        self,
        inputs: Mapping[str, Any],
        *,
        mode: Mode = "declared",
        keep: Literal["all"] | Collection[str] = (),
        state: States | None = None,
        allow_nan: bool = False,
    ) -> Run:
        """Like `predict`, and keeps intermediate values: all, or those whose names are in `keep`."""
        interpreter = self._interpreter(mode)
        rules = interpreter.arithmetic
        values = prepared(inputs, self._interface, self._function, rules, allow_nan)
        values.update(self._given_states(state))
        kept: dict[str, Any] = {}

        def watch(operation: Operation, variable: Variable, value: Any) -> None:
            if keep == "all" or variable.name in keep:
                kept[variable.name] = value.numpy() if isinstance(value, Tensor) else value

        results = interpreter.run(values, watch if keep else None)
        return Run(delivered(results, self._interface, rules), kept)

    def stream(
        self, inputs: Mapping[str, Any], keep: Collection[str], *, mode: Mode = "declared", allow_nan: bool = False
    ) -> Iterator[tuple[str, Any]]:
        """Name and value of each intermediate value in `keep`, as `run` gives them, one by one as they are computed.

        So all values of a large model can be seen in one run, in the memory of a few. Not for stateful models.
        """
        interpreter = self._interpreter(mode)
        values = prepared(inputs, self._interface, self._function, interpreter.arithmetic, allow_nan)
        values.update(self._given_states(None))
        for name, value in interpreter.stream(values, keep):
            yield name, value.numpy() if isinstance(value, Tensor) else value

    def make_state(self) -> States:
        """Fresh state, all zeros, for the predictions of a stateful model."""
        made = {}
        for variable in self._function.states:
            dtype, shape = variable.type.dtype, variable.type.shape
            if dtype is None or shape is None or None in shape:
                raise PackageError(f"the state {variable.name!r} has no fixed shape")
            made[variable.name] = State(torch.zeros([n or 0 for n in shape], dtype=dtype.carrier))
        return made

    def _given_states(self, state: States | None) -> States:
        wanted = {v.name for v in self._function.states}
        if wanted and state is None:
            raise InputError(f"this model has state ({', '.join(sorted(wanted))}): pass state=model.make_state()")
        if set(state or {}) != wanted:
            raise InputError(f"expected the states {sorted(wanted)}, got {sorted(state or {})}")
        return state or {}

    def _interpreter(self, mode: str) -> Interpreter:
        """The interpreter of `mode`, made when first used."""
        if mode not in self._interpreters:
            self._interpreters[mode] = Interpreter(self._function, arithmetic(mode))
            for blob in self._package.blobs:
                blob.forget_pages()
        return self._interpreters[mode]


def load(path: str | Path, *, function: str | None = None) -> Model:
    """The ML Program saved at `path` (.mlpackage folder, or .mlmodel file), ready to execute on any OS.

    `function` picks one of several; default is the package's default, else "main". Raises PackageError or
    UnsupportedOperator in one line.
    """
    package = open_package(path)
    name = function or package.description.defaultFunctionName or next(iter(package.functions))
    if name not in package.functions:
        raise PackageError(f"{path} has no function {name!r}; it has {', '.join(package.functions)}")
    chosen = package.functions[name]
    check_operators(chosen)
    return Model(package, chosen, read_interface(package.description, chosen))
