"""Lowers a planned function to an ONNX graph, step by step, as far as ONNX goes.

Constants are those that the interpreter uses (compressed weights decoded), shapes are the declared ones, and a step
whose inputs are all known is evaluated by the interpreter's own operator. The first step without an ONNX form ends the
graph: what follows stays with the interpreter.

float16 tensors are computed in float32. With `rounding` every result that the program declares as float16 passes
through it, by a pair of Casts, as in the interpreter, or behind the operators that rounding passes (`rounding.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..dtypes import DATA_TYPES, DataType
from ..interpreter import Interpreter
from ..ops.operator import Tensors, convert
from ..program import Variable
from ..steps import Step, run_operator
from . import elementwise, layers, movement, reduction, resize
from .graph import IR_VERSION, OPSET, CannotLower, Graph, Symbol, onnx_type
from .rounding import passed_by_rounding

Lowering = Callable[..., str | list[str]]
GROUPS = (elementwise, layers, movement, reduction, resize)
LOWERINGS: dict[str, Lowering | dict[int, Lowering]] = {k: v for group in GROUPS for k, v in group.LOWERINGS.items()}
INDEX_MAKERS = {"reduce_argmax", "reduce_argmin", "topk", "argsort"}
"""Operators whose ONNX forms give int64 where MIL declares a narrower integer."""
CARRIED = {row.carrier: row for row in reversed(DATA_TYPES) if row.storage and row.name not in ("fp16", "bf16")}
"""The element type as which a decoded constant counts, by its carrier."""


@dataclass(frozen=True)
class Lowered:
    """An ONNX model of the first `steps` steps of a plan; `reason` says why the next one is not in it (None: all are).

    `outputs` are the values it computes: the function's outputs, or what the rest of the steps needs.
    """

    model: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    steps: int
    reason: str | None


def lower(interpreter: Interpreter, *, rounding: bool, keep_all: bool = False) -> Lowered:
    """The ONNX model of `interpreter`'s function (declared arithmetic). `keep_all` makes every tensor an output."""
    return _Lowering(interpreter, rounding, keep_all).run()


class _Lowering:
    """One lowering: the graph so far and the symbols by MIL name."""

    def __init__(self, interpreter: Interpreter, rounding: bool, keep_all: bool) -> None:
        self.graph, self.rounding, self.keep_all = Graph(), rounding, keep_all
        self.plan, self.function = interpreter.plan, interpreter.function
        self.symbols: dict[str, Symbol] = {}
        self.inputs: list[Any] = []
        self.passed = set() if keep_all else passed_by_rounding(self.plan)
        self.unrounded: set[str] = set()

    def run(self) -> Lowered:
        reason, count = None, 0
        try:
            self._inputs()
            for step in self.plan.steps:
                self._step(step)
                count += 1
        except CannotLower as error:
            reason = str(error)
        rest = self.plan.steps[count:]
        wanted = set(self.plan.outputs) | {n for step in rest for n in step.operation.reads()}
        inputs = [i.name for i in self.inputs]
        made = [n for n in self.symbols if n not in inputs]
        outputs = [n for n in made if n in wanted or (self.keep_all and self.symbols[n].value is None)]
        return Lowered(self._model(outputs), tuple(inputs), tuple(outputs), count, reason)

    def _inputs(self) -> None:
        from onnx import helper

        for variable in self.function.inputs:
            if variable.type.kind == "state":
                raise CannotLower(f"the model has state ({variable.name!r})")
            shape, dtype = _static(variable)
            self.graph.fresh(variable.name)
            self.inputs.append(helper.make_tensor_value_info(variable.name, onnx_type(dtype), shape))
            self.graph.prefix = variable.name
            self.symbols[variable.name] = Symbol(shape, dtype, _named(self._through_half(variable.name, dtype)))

    def _step(self, step: Step) -> None:
        """Lower one step, or evaluate it when all that it reads is known. Raises CannotLower with the operation."""
        operation = step.operation
        self.graph.prefix = operation.name
        try:
            if self._is_known(step):
                self._evaluate(step)
            elif operation.type == "shape":
                shape = self._symbol(step.tensors[0][1]).shape
                self.symbols[operation.name] = self._constant(torch.tensor(shape, dtype=torch.int32), operation.name)
            else:
                self._lower(step)
        except Exception as error:  # a program that contradicts itself is for the interpreter to refuse
            raise CannotLower(f"{operation.type} {operation.name!r}: {error}") from error

    def _is_known(self, step: Step) -> bool:
        """Whether the step can be evaluated now: it reads constants only, and is no branch, loop or draw."""
        operation = step.operation
        if operation.blocks or operation.type.startswith("random_"):
            return False
        return all(n not in self.symbols or self.symbols[n].value is not None for n in operation.reads())

    def _lower(self, step: Step) -> None:
        """Add the step's nodes, round its results where the interpreter does, and note them by name."""
        lowering = self._lowering(step.operation.type)
        if lowering is None:
            raise CannotLower("no ONNX form")
        types = [_static(r.variable) for r in step.results]
        before = len(self.graph.nodes)
        found = lowering(self.graph, **self._arguments(step))
        names = [found] if isinstance(found, str) else found
        for result, (shape, dtype), name in zip(step.results, types, names, strict=True):
            mil_name = result.variable.name
            final = self._integers(name, step, dtype)
            if result.through is not None or any(n in self.unrounded for _, n in step.tensors):
                if mil_name in self.passed:
                    self.unrounded.add(mil_name)
                else:
                    final = self._through_half(final, dtype)
            final = self._rename(final, mil_name, before)
            self.symbols[mil_name] = Symbol(shape, dtype, _named(final))

    def _lowering(self, type_: str) -> Lowering | None:
        entry = LOWERINGS.get(type_)
        if isinstance(entry, Mapping):
            return entry[max(first for first in entry if first <= self.function.opset)]
        return entry

    def _arguments(self, step: Step) -> dict[str, Any]:
        """Constant parameters as they are, tensors as symbols."""
        arguments = {key: self._symbolic(value, step, key) for key, value in step.fixed.items()}
        arguments.update({key: self._symbol(name) for key, name in step.tensors})
        for key, kind, names in step.others:
            symbols = tuple(self._symbol(n) for n in names)
            if kind in (Tensors, tuple):
                arguments[key] = symbols
            elif all(s.value is not None for s in symbols):
                arguments[key] = convert(kind, tuple(s.value for s in symbols))
            else:
                raise CannotLower(f"its input {key!r} is computed")
        return arguments

    def _symbolic(self, value: Any, step: Step, key: str) -> Any:
        if isinstance(value, Tensor):
            return self._constant(value, f"{step.operation.name}.{key}")
        if isinstance(value, tuple) and value and isinstance(value[0], Tensor):
            return tuple(self._constant(v, f"{step.operation.name}.{key}.{i}") for i, v in enumerate(value))
        return value

    def _symbol(self, name: str) -> Symbol:
        if name not in self.symbols:
            self.symbols[name] = self._constant(self.plan.constants[name], name)
        return self.symbols[name]

    def _constant(self, value: Any, name: str) -> Symbol:
        if not isinstance(value, Tensor):
            raise CannotLower(f"{name!r} is no tensor")
        stored = f"{name}/value"
        return Symbol(tuple(value.shape), CARRIED[value.dtype], lambda: self.graph.tensor(value, stored), value)

    def _evaluate(self, step: Step) -> None:
        arguments = dict(step.fixed)
        arguments.update({key: self._symbol(name).value for key, name in step.tensors})
        for key, kind, names in step.others:
            arguments[key] = convert(kind, tuple(self._symbol(n).value for n in names))
        for result, value in zip(step.results, run_operator(step, arguments), strict=True):
            self.symbols[result.variable.name] = self._constant(value, result.variable.name)

    def _integers(self, name: str, step: Step, dtype: DataType) -> str:
        """Indices come out of ONNX as int64; the program declares what they are."""
        if dtype.is_float or dtype.name == "bool" or step.operation.type not in INDEX_MAKERS:
            return name
        return self.graph.node("Cast", [name], to=onnx_type(dtype))

    def _through_half(self, name: str, dtype: DataType) -> str:
        """`name` rounded to float16 when it is declared so and rounding is wanted."""
        from onnx import TensorProto

        if not self.rounding or dtype.name != "fp16":
            return name
        return self.graph.node("Cast", [self.graph.node("Cast", [name], to=TensorProto.FLOAT16)], to=TensorProto.FLOAT)

    def _rename(self, name: str, wish: str, before: int) -> str:
        """Give the node result `name` the program's name for it, when this step has made it."""
        for node in self.graph.nodes[before:]:
            if name in node.output:
                new = self.graph.fresh(wish)
                for other in self.graph.nodes[before:]:
                    other.input[:] = [new if n == name else n for n in other.input]
                node.output[:] = [new if n == name else n for n in node.output]
                return new
        return name

    def _model(self, outputs: list[str]) -> Any:
        from onnx import helper

        infos = []
        for name in outputs:
            symbol = self.symbols[name]
            self.graph.prefix = name
            source = self._through_half(symbol.name, symbol.dtype) if name in self.unrounded else symbol.name
            if source != name:
                self.graph.nodes.append(helper.make_node("Identity", [source], [name]))
            infos.append(helper.make_tensor_value_info(name, onnx_type(symbol.dtype), symbol.shape))
        used = {n for node in self.graph.nodes for n in node.input}
        constants = [c for c in self.graph.constants if c.name in used]
        graph = helper.make_graph(self.graph.nodes, "mlprogram", self.inputs, infos, constants)
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="fuseport",
        )


def _named(name: str) -> Callable[[], str]:
    return lambda: name


def _static(variable: Variable) -> tuple[tuple[int, ...], DataType]:
    """Shape and element type of a declared tensor; raises CannotLower when they are not fixed."""
    dtype, shape = variable.type.dtype, variable.type.shape
    if variable.type.kind != "tensor" or dtype is None or dtype.storage is None:
        raise CannotLower(f"{variable.name!r} is no tensor")
    if shape is None or None in shape:
        raise CannotLower(f"the shape of {variable.name!r} is open")
    return tuple(n for n in shape if n is not None), dtype
