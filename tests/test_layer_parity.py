"""Faults are found at their layer, right files have none, and neither fusions nor foreign names mislead."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import layer_faults
import mil_networks
import onnx
import pytest
import torch
from fuseport import mil
from fuseport.export.artifact import Artifact
from fuseport.export.formats import to_coreml, to_onnx
from fuseport.export.proof.layer_parity import Comparison, compare_layers
from fuseport.export.request import Request
from fuseport.export.saved.points import open_points
from fuseport.validate.layer_errors import explain, first_jump
from onnx import numpy_helper
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, InvalidGraph, RuntimeException
from torch import nn
from torch.export import ExportedProgram

FORMS = {
    "onnx": (to_onnx, "float32", "all values"),
    "coreml32": (to_coreml, "float32", "weights"),
    "coreml16": (to_coreml, "float16", "weights"),
}
X = mil_networks.inputs(1)
REFUSALS = (Fail, InvalidGraph, RuntimeException, InvalidArgument)


def converted(module: nn.Module, form: Any, path: Path, precision: str, x: torch.Tensor = X) -> tuple[Artifact, Any]:
    program = torch.export.export(module.eval(), (x,), strict=False)
    names = {"input_names": ("image",), "output_names": ("logits",), "export_id": "0" * 16}
    return form.convert(program, path.with_suffix(form.SUFFIX), Request(precision=precision), {}, **names), program


def compared(artifact: Artifact, program: ExportedProgram, rounds: Any, **options: Any) -> Comparison:
    return compare_layers(artifact, program, {"image": X.numpy()}, (X,), rounds=rounds, **options)


@pytest.fixture(scope="module")
def in_onnx(tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifact, ExportedProgram]:
    return converted(mil_networks.Mixed(), to_onnx, tmp_path_factory.mktemp("onnx") / "good", "float32")


@pytest.fixture(scope="module", params=FORMS)
def good(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    in_onnx: tuple[Artifact, ExportedProgram],
) -> tuple[Artifact, Any, Any]:
    form, precision, rounds = FORMS[request.param]
    if form is to_onnx:
        return *in_onnx, rounds
    path = tmp_path_factory.mktemp(request.param) / "good"
    return *converted(mil_networks.Mixed(), form, path, precision), rounds


def test_a_right_file_has_no_jump(good: tuple[Artifact, Any, Any]) -> None:
    artifact, program, rounds = good
    found = compared(artifact, program, rounds)
    assert first_jump(found.layers) is None, explain(found.layers)
    assert len(found.layers) > 25
    assert found.layers[-1].tensor == "logits"
    line = next(
        n for n, text in enumerate(Path(mil_networks.__file__).read_text().splitlines(), 1) if "self.stem(" in text
    )
    assert found.layers[0].source.endswith(f"mil_networks.py:{line}")
    assert {"stem", "norm", "project", "head"} <= {layer.module for layer in found.layers}


def test_every_fault_is_found_at_its_layer(good: tuple[Artifact, Any, Any], tmp_path: Path) -> None:
    artifact, program, rounds = good
    tensors = open_points(artifact, {"image": X.numpy()}).tensors
    seen, wrong = 0, []
    for seed in range(14 if artifact.format == "onnx" else 13):
        bad = replace(artifact, path=tmp_path / f"bad{artifact.path.suffix}")
        broken = layer_faults.break_file(artifact.path, bad.path, seed)
        try:
            layers = compared(bad, program, rounds).layers if broken else None
        except (mil.MilError, *REFUSALS):
            continue  # the runtime will not run it, and its message names the operator
        if broken and layers and layers[-1].error > (3e-2 if artifact.precision == "float16" else 1e-4):
            jump = first_jump(layers)
            right = layer_faults.readers(broken[1], tensors, {layer.tensor for layer in layers})
            seen += 1
            wrong += [] if jump and jump.tensor in right else [f"{seed}: {broken} found at {jump and jump.tensor}"]
    assert seen >= 6
    assert wrong == []


def test_few_values_held_at_a_time_give_the_same_figures(good: tuple[Artifact, Any, Any]) -> None:
    artifact, program, rounds = good
    assert compared(artifact, program, rounds, held_bytes=40_000) == compared(artifact, program, rounds)


class Fused(nn.Module):
    """A batch norm that a converter puts into the convolution before it, under the name of one or the other."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(width, 8, 3, padding=1) for width in (3, 8, 8))
        self.norms = nn.ModuleList(nn.BatchNorm2d(8) for _ in range(3))
        for norm in self.norms:
            norm.running_var = torch.linspace(0.5, 3, 8)  # pyright: ignore

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = torch.relu(norm(conv(x)))
        return x.mean((2, 3))


@pytest.mark.parametrize("form", FORMS)
def test_fused_operators_are_no_fault(form: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, precision, rounds = FORMS[form]
    artifact, program = converted(Fused(), module, tmp_path / "fused", precision)
    found = compared(artifact, program, rounds)
    assert first_jump(found.layers) is None, explain(found.layers)
    assert len(found.layers) >= 6


def test_a_fused_operator_before_a_fault_is_not_taken_for_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    artifact, program = converted(Fused(), to_onnx, tmp_path / "fused", "float32")
    tensors = open_points(artifact, {"image": X.numpy()}).tensors
    right = {layer.tensor for layer in compared(artifact, program, "all values").layers}
    for seed in (0, 1, 2):
        model = onnx.load(artifact.path)
        place = layer_faults.scaled(model.graph, random.Random(seed))
        assert place is not None
        bad = replace(artifact, path=tmp_path / f"{seed}.onnx")
        onnx.save(model, bad.path)
        jump = first_jump(compared(bad, program, "all values").layers)
        assert jump is not None
        assert jump.tensor in layer_faults.readers([place], tensors, right), (place, jump)


def test_a_file_with_other_names_is_joined_by_value(in_onnx: tuple[Artifact, Any], tmp_path: Path) -> None:
    artifact, program = in_onnx
    model = onnx.load(artifact.path)
    artifact = replace(artifact, path=tmp_path / "named.onnx")
    ends = {value.name for value in (*model.graph.input, *model.graph.output)}
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [name if name in ends or not name else f"v/{name}" for name in names]
    for entry in (*model.graph.initializer, *model.graph.value_info):
        entry.name = f"v/{entry.name}"
    onnx.save(model, artifact.path)
    clean = compared(artifact, program, "all values")
    assert first_jump(clean.layers) is None, explain(clean.layers)
    assert len(clean.layers) > 25
    place = layer_faults.scaled(model.graph, random.Random(3))
    onnx.save(model, artifact.path)
    jump = first_jump(compared(artifact, program, "all values").layers)
    assert jump is not None
    assert jump.tensor == place
    assert jump.skipped == 0


def test_other_names_with_other_weights_clear_no_layer(in_onnx: tuple[Artifact, Any], tmp_path: Path) -> None:
    """Few can be joined then but the output, before which the fault may lie anywhere."""
    artifact, program = in_onnx
    model = onnx.load(artifact.path)
    artifact = replace(artifact, path=tmp_path / "other.onnx")
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [f"v/{name}" if name.startswith(("conv2d", "linear", "view")) else name for name in names]
    for entry in model.graph.initializer:
        if len(entry.dims) > 1:
            entry.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(entry)[::-1], entry.name))
    onnx.save(model, artifact.path)
    found = compared(artifact, program, "all values")
    jump = first_jump(found.layers)
    assert jump is not None
    assert jump.skipped > 0, explain(found.layers)
    assert "that could not be compared" in explain(found.layers)


def test_an_open_batch_is_one_sample(in_onnx: tuple[Artifact, Any], tmp_path: Path) -> None:
    model = onnx.load(in_onnx[0].path)
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = "N"
    onnx.save(model, tmp_path / "open.onnx")
    shapes = [
        [point.shape for point in open_points(replace(in_onnx[0], path=path), {"image": X.numpy()}).tensors]
        for path in (in_onnx[0].path, tmp_path / "open.onnx")
    ]
    assert shapes[0] == shapes[1]


def test_a_file_of_another_model_has_strange_sizes(in_onnx: tuple[Artifact, Any]) -> None:
    assert compared(*in_onnx, "all values").strange < 0.2  # queries, keys and values are told apart in the file
    other = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 24, 1), nn.Conv2d(24, 40, 1), nn.Conv2d(40, 10, 8))
    program = torch.export.export(other.eval(), (X,), strict=False)
    assert compared(in_onnx[0], program, "all values").strange == 0.75


def test_an_overflow_of_rounding_is_told_from_a_fault(tmp_path: Path) -> None:
    class Large(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sqrt((300 * x * x * 300).mean((2, 3)))

    artifact, program = converted(Large(), to_coreml, tmp_path / "large", "float16")
    layers = compared(artifact, program, "all values").layers
    assert first_jump(layers) is None
    assert "rounding overflows at the top of the model (mul, tensor 'mul" in explain(layers)


class Gated(nn.Module):
    """A gate whose values are all but 0, where the rounding of 1/6 is all that is left of x / 6 + 1/2."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1)
        self.before.weight.data.mul_(1e-5)
        self.before.bias.data.copy_(torch.linspace(-3.01, -2.9999, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.after(1 + nn.functional.hardsigmoid(self.before(x))).mean((2, 3))


@pytest.mark.parametrize("form", FORMS)
def test_a_saturated_gate_is_no_fault(form: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, precision, rounds = FORMS[form]
    artifact, program = converted(Gated(), module, tmp_path / "gated", precision)
    layers = compared(artifact, program, rounds).layers
    assert first_jump(layers) is None, explain(layers)
    assert "hardsigmoid" in {layer.operator for layer in layers}
