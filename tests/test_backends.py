"""Every engine opens what it takes and says why it cannot; Core ML, which macOS alone has, is stood in for."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fuseport.export.artifact import NotRun
from fuseport.export.backends import BACKENDS, Backend, CannotRun, core_ml, onnx_runtime, pytorch
from fuseport.export.given import Given, given
from fuseport.export.job import Source
from fuseport.export.profile.contestants import Contestant, feed, open_contestant
from fuseport.export.profile.profile_report import Placed
from fuseport.export.profile.work import work_of
from fuseport.export.saved import session
from fuseport.models.inputs import parse
from mil_build import Program, Ref, affine_program
from PIL import Image
from profile_samples import small_onnx


def backend(name: str) -> Backend:
    return next(known for known in BACKENDS if known.name == name)


def package(folder: Path, program: Program) -> Given:
    return Given("m.mlpackage", "coreml", path=program.save(folder / "m.mlpackage"))


def picture_program() -> Program:
    """The largest value of each channel of a picture of 4 × 6 pixels."""
    program = Program()
    x = program.input("image", (1, 3, 4, 6))
    picture = program.model.description.input[0].type.imageType
    picture.width, picture.height, picture.colorSpace = 6, 4, 20
    axes = program.const(np.array([2, 3], np.int32))
    program.op("reduce_max", ("y", (1, 3), "fp32"), x=Ref(x), axes=Ref(axes), keep_dims=Ref(program.const(False)))
    program.output("y")
    return program


def test_names_are_told_apart_and_every_engine_takes_a_known_kind():
    names = [known.name for known in BACKENDS]
    assert len(names) == len(set(names))
    assert {known.takes for known in BACKENDS} == {"model", "onnx", "coreml"}
    assert {known.takes for known in BACKENDS if known.chosen == "always"} == {"model", "onnx", "coreml"}


@pytest.mark.parametrize("name", ["executor", "executor-onnx"])
def test_the_executor_runs_tensors_and_pictures(name: str, tmp_path: Path):
    opened = backend(name).open(package(tmp_path, affine_program()), 1)
    assert [(spec.name, spec.shape, spec.dtype) for spec in opened.inputs] == [("x", (2, 4), "float32")]
    inputs = feed(opened.inputs, 2, 0)
    assert isinstance(inputs, dict)
    answer: Any = opened.run(inputs)
    assert answer["y"].shape == (2, 3)
    pictures = backend(name).open(package(tmp_path / "p", picture_program()), 1)
    (spec,) = pictures.inputs
    assert (spec.shape, spec.dtype, spec.kind) == ((1, 4, 6, 3), "uint8", "image")
    inputs = feed(pictures.inputs, 1, 0)
    assert isinstance(inputs, dict)
    found: Any = pictures.run(inputs)
    np.testing.assert_array_equal(found["y"], inputs["image"].max(axis=(1, 2)))


def test_what_the_executor_cannot_run_is_one_line(tmp_path: Path):
    (tmp_path / "m.mlpackage").mkdir()
    (tmp_path / "m.mlpackage" / "Manifest.json").write_text("[]")
    with pytest.raises(CannotRun, match="the executor cannot run"):
        backend("executor").open(Given("m.mlpackage", "coreml", path=tmp_path / "m.mlpackage"), 1)


def test_core_ml_says_what_it_needs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "platform", "linux")
    assert core_ml._missing().startswith("Core ML prediction needs macOS; --backend executor runs the package here")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert core_ml._missing() == ""
    monkeypatch.setattr(core_ml, "find_spec", lambda name: None)
    assert 'pip install "fuseport[coreml]"' in core_ml._missing()


class Model:
    """What `_load` gives on macOS: the program's description, and predictions."""

    def __init__(self, program: Program) -> None:
        self.program, self.seen = program, []

    def get_spec(self) -> Any:
        return self.program.model

    def get_compiled_model_path(self) -> str:
        return "m.mlmodelc"

    def predict(self, given: dict[str, Any]) -> dict[str, Any]:
        self.seen.append(given)
        return {}


def test_core_ml_gets_tensors_as_arrays_and_pictures_as_pictures(monkeypatch: pytest.MonkeyPatch):
    affine, pictures = Model(affine_program()), Model(picture_program())
    for model in (affine, pictures):
        monkeypatch.setattr(core_ml, "_load", lambda given, units, model=model: model)
        opened = backend("coreml-ane").open(Given("m", "coreml", path=Path()), 1)
        inputs = feed(opened.inputs, int(opened.inputs[0].shape[0]), 0)
        assert isinstance(inputs, dict)
        opened.run(inputs)
    assert affine.seen[0]["x"].shape == (2, 4)
    assert isinstance(pictures.seen[0]["image"], Image.Image)
    assert pictures.seen[0]["image"].size == (6, 4)


def test_an_open_batch_of_core_ml_is_told_as_such(monkeypatch: pytest.MonkeyPatch):
    program = affine_program()
    array = program.model.description.input[0].type.multiArrayType
    array.shapeRange.sizeRanges.add(lowerBound=1, upperBound=-1)
    array.shapeRange.sizeRanges.add(lowerBound=4, upperBound=4)
    monkeypatch.setattr(core_ml, "_load", lambda given, units: Model(program))
    (spec,) = backend("coreml-all").open(Given("m", "coreml", path=Path()), 1).inputs
    assert spec.shape == ("batch", 4)


def made(kind: type, **values: Any) -> Any:
    """One of coremltools' own objects, which it makes on macOS alone, with fields that it has."""
    assert set(values) <= set(getattr(kind, "__dataclass_fields__", ()))
    found = object.__new__(kind)
    for name, value in values.items():
        object.__setattr__(found, name, value)
    return found


def test_core_ml_s_plan_names_the_device_of_each_operation(monkeypatch: pytest.MonkeyPatch):
    from coremltools.models import compute_device as devices
    from coremltools.models import compute_plan as plans

    cpu, ane = made(devices.MLCPUComputeDevice), made(devices.MLNeuralEngineComputeDevice)
    named = made(plans.MLModelStructureProgramNamedValueType, name="y")
    run = made(plans.MLModelStructureProgramOperation, operator_name="conv", outputs=[named])
    constant = made(plans.MLModelStructureProgramOperation, operator_name="const", outputs=[])
    block = made(plans.MLModelStructureProgramBlock, operations=[constant, run])
    main = made(plans.MLModelStructureProgramFunction, block=block)
    program = made(plans.MLModelStructureProgram, functions={"main": main})
    plan = SimpleNamespace(
        model_structure=SimpleNamespace(program=program),
        get_compute_device_usage_for_mlprogram_operation=lambda operation: (
            made(plans.MLComputePlanDeviceUsage, preferred_compute_device=ane, supported_compute_devices=[cpu, ane])
            if operation is run
            else None
        ),
        get_estimated_cost_for_mlprogram_operation=lambda operation: made(plans.MLComputePlanCost, weight=0.75),
    )
    assert set(vars(plan)) - {"model_structure"} <= set(dir(plans.MLComputePlan)), "as coremltools names them"
    monkeypatch.setattr(plans.MLComputePlan, "load_from_path", lambda path, compute_units: plan)
    monkeypatch.setattr(core_ml, "_load", lambda given, units: Model(affine_program()))
    tell = backend("coreml-all").placement
    assert tell is not None
    assert tell(Given("m", "coreml", path=Path())) == (Placed("y", "conv", "ane", ("cpu", "ane"), 0.75),)
    plan.model_structure = SimpleNamespace(program=None)
    with pytest.raises(CannotRun, match="m is not an ML Program"):
        tell(Given("m", "coreml", path=Path()))


def test_a_provider_that_falls_back_to_another_is_not_measured_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fallen = SimpleNamespace(get_providers=lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(session, "open_session", lambda *given, **options: fallen)
    with pytest.raises(CannotRun, match="could not start CUDAExecutionProvider and fell back to CPUExecutionProvider"):
        backend("ort-cuda").open(given(str(small_onnx(tmp_path)), Source("")), 1)
    monkeypatch.setattr(session, "providers", lambda: (_ for _ in ()).throw(ImportError))
    assert 'pip install "fuseport[onnx]"' in onnx_runtime.BACKENDS[0].missing()


def test_compiling_needs_a_compiler_and_its_work_is_not_counted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pytorch, "which", lambda name: None)
    assert "torch.compile needs a C++ compiler" in backend("torch-compile").missing()
    model = Given("m", "model", source=Source("m"))
    counted: Any = work_of(Contestant("m", model, backend("torch-compile")), 1)
    assert counted.reason == "not counted: torch.compile fuses operators as it likes"


def test_a_model_that_cannot_be_captured_is_told_and_not_counted(tmp_path: Path):
    """Its path depends on the values of its input."""
    lines = (
        "from torch import nn",
        "class Net(nn.Module):",
        "  def forward(self, x):",
        "    return x if x.sum() > 0 else -x",
    )
    (tmp_path / "net.py").write_text("\n".join(lines))
    model = given(f"{tmp_path / 'net.py'}:Net", Source("", inputs=(parse("1,3"),)))
    found = open_contestant(Contestant("m", model, backend("torch-folded")), 1)
    assert isinstance(found, NotRun)
    assert found.reason.startswith("it cannot be folded: ")
    counted = work_of(Contestant("m", model, backend("torch")), 1)
    assert isinstance(counted, NotRun)
    assert counted.reason.startswith("not counted: ")


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
@pytest.mark.skipif(bool(backend("torch-compile").missing()), reason="needs a C++ compiler")
def test_the_compiled_model_runs():
    ready = open_contestant(Contestant("m", given("shvit_tiny", Source("")), backend("torch-compile")), 1)
    assert ready.opened.run(feed(ready.opened.inputs, 1, 0)) is not None  # pyright: ignore
