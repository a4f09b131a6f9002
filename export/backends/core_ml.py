"""Core ML on macOS, once per choice of compute units, with its plan of which operation runs where.

The timed call is `MLModel.predict`, from numpy arrays or a PIL picture to numpy arrays, coremltools' own conversion
included: an app that hands over pixel buffers pays less. The plan (`MLComputePlan`, macOS 14.4 and later) is what Core
ML intends to do, not a trace of what it did.
"""

from __future__ import annotations

import sys
from functools import partial
from importlib.util import find_spec
from typing import Any

from ..artifact import BATCH, TensorSpec, in_one_line
from ..given import Given
from ..profile.profile_report import Placed
from ..quiet import quiet
from ..subject import Values
from .backend import Backend, CannotRun, Chosen, Opened

UNITS: tuple[tuple[str, str, str, Chosen], ...] = (
    ("all", "ALL", "all compute units", "always"),
    ("cpu", "CPU_ONLY", "CPU", "when present"),
    ("gpu", "CPU_AND_GPU", "CPU and GPU", "when present"),
    ("ane", "CPU_AND_NE", "CPU and Neural Engine", "when present"),
)
DEVICES = {"MLCPUComputeDevice": "cpu", "MLGPUComputeDevice": "gpu", "MLNeuralEngineComputeDevice": "ane"}


def _open(given: Given, threads: int, units: str) -> Opened:
    """Core ML decides on its threads itself."""
    model = _load(given, units)
    inputs = tuple(_spec(feature) for feature in model.get_spec().description.input)
    pictures = {spec.name for spec in inputs if spec.kind == "image"}
    return Opened(inputs, partial(_predict, model, pictures))


def _load(given: Given, units: str) -> Any:
    with quiet("coremltools"):
        import coremltools as ct

        try:
            return ct.models.MLModel(str(given.file), compute_units=ct.ComputeUnit[units])
        except Exception as error:  # whatever Core ML's compiler has to say
            raise CannotRun(f"Core ML cannot load {given.name}: {in_one_line(error)}") from error


def _spec(feature: Any) -> TensorSpec:
    kind = feature.type.WhichOneof("Type")
    if kind == "imageType":
        picture = feature.type.imageType
        return TensorSpec(feature.name, (1, picture.height, picture.width, 3), "uint8", "image")
    if kind != "multiArrayType":
        raise CannotRun(f"its input {feature.name} is a {kind}; expected tensors or pictures")
    array = feature.type.multiArrayType
    dtype = array.DESCRIPTOR.fields_by_name["dataType"].enum_type.values_by_number[array.dataType].name.lower()
    shape: tuple[int | str, ...] = tuple(array.shape)
    spans = array.shapeRange.sizeRanges
    if spans and spans[0].lowerBound != spans[0].upperBound:
        shape = (BATCH, *shape[1:])
    return TensorSpec(feature.name, shape, "float64" if dtype == "double" else dtype)


def _predict(model: Any, pictures: set[str], feed: Values) -> object:
    from PIL import Image

    return model.predict({name: Image.fromarray(x[0]) if name in pictures else x for name, x in feed.items()})


def _placement(given: Given, units: str) -> tuple[Placed, ...]:
    """What Core ML plans, operation by operation; constants, which run nowhere, are left out."""
    from coremltools import ComputeUnit
    from coremltools.models.compute_plan import MLComputePlan

    compiled = _load(given, units).get_compiled_model_path()
    plan: Any = MLComputePlan.load_from_path(compiled, compute_units=ComputeUnit[units])
    program = plan.model_structure.program
    if program is None:
        raise CannotRun(f"{given.name} is not an ML Program; Core ML plans those alone operation by operation")
    found = []
    for operation in program.functions["main"].block.operations:
        usage = plan.get_compute_device_usage_for_mlprogram_operation(operation)
        if usage is not None:
            cost = plan.get_estimated_cost_for_mlprogram_operation(operation)
            found.append(
                Placed(
                    name=operation.outputs[0].name if operation.outputs else operation.operator_name,
                    type=operation.operator_name,
                    device=_device(usage.preferred_compute_device),
                    supported=tuple(map(_device, usage.supported_compute_devices)),
                    cost_share=cost.weight if cost is not None else None,
                )
            )
    return tuple(found)


def _device(device: object) -> str:
    return DEVICES.get(type(device).__name__, type(device).__name__)


def _missing() -> str:
    if sys.platform != "darwin":
        return "Core ML prediction needs macOS; --backend executor runs the package here, which says nothing of a phone"
    return "" if find_spec("coremltools") else 'coremltools is not installed here; pip install "fuseport[coreml]"'


def _backend(name: str, units: str, told: str, chosen: Chosen) -> Backend:
    return Backend(
        f"coreml-{name}",
        f"Core ML, {told}",
        "coreml",
        partial(_open, units=units),
        _missing,
        chosen,
        "Core ML decides on its threads itself",
        placement=partial(_placement, units=units),
    )


BACKENDS = tuple(_backend(*row) for row in UNITS)
