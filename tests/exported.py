"""The small variant, exported once for a module of tests, and wrong models to put in its place."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from fuseport import models
from fuseport.export.job import Checks, Job, Source
from fuseport.export.pipeline import export
from fuseport.export.report import ExportReport
from fuseport.export.request import Request
from fuseport.models import loaded
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tiny import family
from torch import nn

Fault = Callable[[nn.Module], None]
"""Spoils a model in place."""

JOB = Job(Source("shvit_tiny", num_classes=10), ("onnx", "coreml"), Request(), Checks(samples=2))


def export_to(folder: Path, fault: Fault | None = None, **changed: object) -> ExportReport:
    """Files and report of the tiny variant with 10 classes in `folder`, of a spoilt one with `fault`; the report."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "FAMILIES", (*models.FAMILIES, family()))
        if fault is not None:
            right = loaded.load
            patch.setattr(
                "fuseport.export.loading.load", lambda *words, **options: spoilt(right(*words, **options), fault)
            )
        return export(replace(JOB, output_dir=folder, **changed))  # pyright: ignore


def spoilt(made: loaded.Loaded, fault: Fault) -> loaded.Loaded:
    with torch.no_grad():
        fault(made.module)
    return made


@pytest.fixture(scope="session")
def exported_report(tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    """Report of an export of the small variant in both formats; its folder is to be read only."""
    return export_to(tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="session")
def exported(exported_report: ExportReport) -> Path:
    """A folder with shvit_tiny.onnx, .mlpackage and .report.json, to be read only."""
    return exported_report.folder


def first_conv(module: nn.Module) -> nn.Conv2d:
    return next(part for part in module.modules() if isinstance(part, nn.Conv2d))


def bgr(module: nn.Module) -> None:
    """The model as if it were fed blue first."""
    weight = first_conv(module).weight
    weight.copy_(weight[:, [2, 1, 0]].clone())


def edited(folder: Path, to: Path, change: Callable[[NDArray], NDArray]) -> Path:
    """The tiny ONNX file of `folder`, copied into `to` with `change` made to the weight (out, in, kH, kW) of its first
    convolution; the report beside it is copied too."""
    model = onnx.load(folder / "shvit_tiny.onnx")
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    held = next(tensor for tensor in model.graph.initializer if tensor.name == conv.input[1])
    weight = change(numpy_helper.to_array(held)).astype(np.float32)
    held.CopyFrom(numpy_helper.from_array(weight, held.name))
    onnx.save(model, to / "shvit_tiny.onnx")
    shutil.copy(folder / "shvit_tiny.report.json", to)
    return to / "shvit_tiny.onnx"


def doubling(path: Path, factor: float = 2.0, *, identity: bool = False) -> Path:
    """An ONNX file that multiplies x (1, 3) by `factor`, with one operator more if `identity`; and beside it cases.npz,
    with inputs and what doubling them gives."""
    describe = helper.make_tensor_value_info
    last = [helper.make_node("Identity", ["before"], ["y"])] if identity else []
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "two"], ["before" if identity else "y"]), *last],
        "doubling",
        [describe("x", TensorProto.FLOAT, (1, 3))],
        [describe("y", TensorProto.FLOAT, (1, 3))],
        [numpy_helper.from_array(np.float32(factor), "two")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    np.savez(path.with_name("cases.npz"), x=x, y=2 * x)
    return path
