"""An Xcode report's `modelStructure` → the operations that Core ML dispatches, in program order.

An ML Program lists functions, each with a block of operations, which may hold blocks of their own (control flow).
Constants and `constexpr_*` carry neither `cost` nor `deviceUsage`: they are counted and left out of everything else.
Of a neural network's layers and of pipelines no report is public; their shape follows Apple's `MLModelStructure`, and
reading one says so.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from .document import ReportError, clean, read_dict, read_list, read_number, read_text
from .report import Operation

MAX_DEPTH = 64
UNIT_NAMES = {"neuralEngine": "ane", "gpu": "gpu", "cpu": "cpu"}
_OPSET = re.compile(r"^ios\d+\.")
_KNOWN = frozenset({"operatorName", "outputs", "inputs", "blocks", "cost", "deviceUsage"})
_KNOWN_LAYER = frozenset({"name", "type", "inputNames", "outputNames", "cost", "deviceUsage"})
_INFERRED = "{}: no report of this kind is public, read after Apple's MLModelStructure"


@dataclass
class Program:
    """What has been read so far: the operations, how many were listed, and whatever looked unfamiliar."""

    operations: list[Operation] = field(default_factory=list)
    listed: int = 0
    oddities: list[str] = field(default_factory=list)


def read_structure(value: Any) -> Program:
    """The operations of a `modelStructure`. Raises `ReportError` where a part that makes figures has another type."""
    program = Program()
    _read_model(value, "", program, 0)
    return program


def unit_name(value: Any, where: str, oddities: list[str]) -> str | None:
    """`{"deviceType": {"neuralEngine": {}}}` → "ane"; a unit without a known name keeps the file's."""
    kinds = read_dict(read_dict(value, where).get("deviceType"), f"{where}.deviceType")
    if len(kinds) != 1:
        oddities.append(f"{where}.deviceType with {len(kinds)} names")
        return None
    (kind,) = kinds
    return UNIT_NAMES.get(kind) or clean(kind)


def _read_model(value: Any, prefix: str, program: Program, depth: int) -> None:
    where = "modelStructure"
    if depth > MAX_DEPTH:
        raise ReportError(f"{where}: pipelines nested more than {MAX_DEPTH} deep")
    structure = read_dict(value, where)
    if "program" in structure:
        body = _payload(structure["program"], f"{where}.program")
        functions = read_dict(body.get("functions"), f"{where}.program.functions")
        for name, function in functions.items():
            block = read_dict(function, f"function {clean(name)}").get("block")
            _read_block(block, prefix + clean(name), "", program, 0)
    elif "neuralNetwork" in structure:
        program.oddities.append(_INFERRED.format("neuralNetwork"))
        layers = _payload(structure["neuralNetwork"], f"{where}.neuralNetwork").get("layers")
        for i, layer in enumerate(read_list(layers, f"{where}.layers")):
            _read_layer(read_dict(layer, f"layer {i}"), prefix, f"layer {i}", program)
    elif "pipeline" in structure:
        program.oddities.append(_INFERRED.format("pipeline"))
        models = _payload(structure["pipeline"], f"{where}.pipeline").get("subModels")
        for i, model in enumerate(read_list(models, f"{where}.subModels")):
            _read_model(model, f"{prefix}model {i} ", program, depth + 1)
    elif structure:
        program.oddities.append(f"{where} of the kind {clean(next(iter(structure)))}")


def _payload(value: Any, where: str) -> dict[str, Any]:
    """Swift writes an enum case with a value as `{"_0": value}`."""
    return read_dict(read_dict(value, where).get("_0"), f"{where}._0")


def _read_block(value: Any, function: str, path: str, program: Program, depth: int) -> None:
    where = f"{function}{':' if path else ''}{path}"
    if depth > MAX_DEPTH:
        raise ReportError(f"{function}: blocks nested more than {MAX_DEPTH} deep")
    operations = read_list(read_dict(value, where).get("operations"), f"{where}.operations")
    program.listed += len(operations)
    for i, operation in enumerate(operations):
        operation = read_dict(operation, f"{where}.operations[{i}]")
        if not operation.keys() <= _KNOWN:
            program.oddities += [f"operation key {clean(k)}" for k in operation.keys() - _KNOWN]
        if "cost" in operation or "deviceUsage" in operation:
            program.operations.append(_read_operation(operation, function, path, f"{where}.operations[{i}]", program))
        if blocks := operation.get("blocks"):
            name = _output_names(operation, f"{where}.operations[{i}]")[0]
            for k, block in enumerate(read_list(blocks, f"{where}.operations[{i}].blocks")):
                inner = f"{path}/{name}[{k}]" if path else f"{name}[{k}]"
                _read_block(block, function, inner, program, depth + 1)


def _read_operation(operation: dict[str, Any], function: str, path: str, where: str, program: Program) -> Operation:
    operator = read_text(operation.get("operatorName"), f"{where}.operatorName")
    opset = _OPSET.match(operator)
    outputs = _output_names(operation, where)
    unit, eligible, refusals = _read_usage(operation.get("deviceUsage"), f"{where}.deviceUsage", program.oddities)
    return Operation(
        name=outputs[0],
        type=operator[opset.end() :] if opset else operator,
        outputs=outputs,
        function=function,
        block=path,
        opset=opset.group()[:-1] if opset else None,
        unit=unit,
        eligible=eligible,
        refusals=refusals,
        weight=_read_weight(operation, where),
        parameter=_bound_name(operation.get("inputs")),
    )


def _read_layer(layer: dict[str, Any], function: str, where: str, program: Program) -> None:
    program.listed += 1
    if not layer.keys() <= _KNOWN_LAYER:
        program.oddities += [f"layer key {clean(k)}" for k in layer.keys() - _KNOWN_LAYER]
    if "cost" not in layer and "deviceUsage" not in layer:
        return
    unit, eligible, refusals = _read_usage(layer.get("deviceUsage"), f"{where}.deviceUsage", program.oddities)
    outputs = tuple(read_text(o, f"{where}.outputNames") for o in read_list(layer.get("outputNames"), where))
    program.operations.append(
        Operation(
            name=read_text(layer.get("name"), f"{where}.name"),
            type=read_text(layer.get("type"), f"{where}.type"),
            outputs=outputs,
            function=function.strip() or "main",
            unit=unit,
            eligible=eligible,
            refusals=refusals,
            weight=_read_weight(layer, where),
        )
    )


def _output_names(operation: dict[str, Any], where: str) -> tuple[str, ...]:
    outputs = read_list(operation.get("outputs"), f"{where}.outputs")
    names = tuple(read_text(read_dict(o, f"{where}.outputs").get("name"), f"{where}.outputs.name") for o in outputs)
    return names or ("(no output)",)


def _read_weight(operation: dict[str, Any], where: str) -> float | None:
    cost = operation.get("cost")
    if cost is None or "weight" not in read_dict(cost, f"{where}.cost"):
        return None
    return read_number(cost["weight"], f"{where}.cost.weight", low=0, high=1e9)


def _read_usage(
    value: Any, where: str, oddities: list[str]
) -> tuple[str | None, tuple[str, ...], tuple[tuple[str, str], ...]]:
    """(preferred unit, units that could run it, (unit, reason) for those that could not)."""
    usage = read_dict(value, where)
    preferred = unit_name(usage["preferred"], f"{where}.preferred", oddities) if usage.get("preferred") else None
    supported = [unit_name(u, f"{where}.supported", oddities) for u in read_list(usage.get("supported"), where)]
    states = read_list(usage.get("allSupportStates"), f"{where}.allSupportStates")
    if len(states) % 2:
        oddities.append("allSupportStates of odd length")
    refusals = []
    for device, state in zip(states[::2], states[1::2], strict=False):  # a Swift dictionary: key, value, key, value
        unit = unit_name(device, f"{where}.allSupportStates", oddities)
        reason = _reason(read_dict(state, f"{where}.allSupportStates"))
        if unit and reason is not None and unit not in supported:
            refusals.append((unit, reason))
    return preferred, tuple(unit for unit in supported if unit), tuple(refusals)


def _reason(state: dict[str, Any]) -> str | None:
    """None for `{"supported": {}}`; else the state's key and its payload (their spelling is unknown)."""
    if "supported" in state:
        return None
    words = [clean(f"{key}: {_payload_text(value)}" if value else key) for key, value in state.items()]
    return ", ".join(words) or "no state given"


def _payload_text(value: Any) -> str:
    try:
        return json.dumps(value)
    except RecursionError:
        return "(deeply nested)"


def _bound_name(inputs: Any) -> str | None:
    """The constant bound to the input `weight` (conv, linear) or `gamma` (norms); None if the op has no such input."""
    if not isinstance(inputs, dict):
        return None
    try:
        bound = (inputs.get("weight") or inputs.get("gamma") or {})["bindings"][0]["name"]["_0"]
    except (KeyError, IndexError, TypeError, AttributeError):
        return None  # an inline value, or no weight: nothing depends on it
    return clean(bound) if isinstance(bound, str) else None
