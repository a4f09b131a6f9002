"""The small variant, exported once for a module of tests, and wrong models to put in its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fuseport import models
from fuseport.export.job import Checks, Job, Source
from fuseport.export.pipeline import export
from fuseport.export.request import Request
from fuseport.models import loaded
from tiny import family
from torch import nn

Fault = Callable[[nn.Module], None]
"""Spoils a model in place."""

JOB = Job(Source("shvit_tiny", num_classes=10), ("onnx", "coreml"), Request(), Checks(samples=2))


def export_to(folder: Path, fault: Fault | None = None, **changed: object) -> Path:
    """Files and report of the tiny variant with 10 classes in `folder`, of a spoilt one with `fault`; the folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "FAMILIES", (*models.FAMILIES, family()))
        if fault is not None:
            right = loaded.load
            patch.setattr(
                "fuseport.export.subject.load", lambda *words, **options: spoilt(right(*words, **options), fault)
            )
        export(replace(JOB, output_dir=folder, **changed))  # pyright: ignore
    return folder


def spoilt(made: loaded.Loaded, fault: Fault) -> loaded.Loaded:
    with torch.no_grad():
        fault(made.module)
    return made


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with shvit_tiny.onnx, .mlpackage and .report.json, to be read only."""
    return export_to(tmp_path_factory.mktemp("exported"))


def first_conv(module: nn.Module) -> nn.Conv2d:
    return next(part for part in module.modules() if isinstance(part, nn.Conv2d))


def bgr(module: nn.Module) -> None:
    """The model as if it were fed blue first."""
    weight = first_conv(module).weight
    weight.copy_(weight[:, [2, 1, 0]].clone())
