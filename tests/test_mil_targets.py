"""One network at every deployment target and in both precisions: exact mode is PyTorch in float64, on both engines."""

from __future__ import annotations

from pathlib import Path

import mil_networks
import numpy as np
import pytest
import torch
from fuseport import mil
from fuseport.mil.package import open_package

TARGETS = {"iOS15": 6, "iOS16": 7, "iOS17": 8, "iOS18": 9, "iOS26": 10}
"""Deployment target → specification version in the file."""


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("target", TARGETS)
def test_every_target_and_precision(tmp_path: Path, target: str, precision: str) -> None:
    net = mil_networks.Mixed()
    if precision == "float16":
        mil_networks.rounded_weights(net)
    x = mil_networks.inputs(2)
    path = mil_networks.convert(net, (x,), tmp_path / "m.mlpackage", precision=precision, target=target)
    assert open_package(path).specification_version == TARGETS[target]
    model = mil.load(path)
    (name,) = (f.name for f in model.outputs)
    with torch.no_grad():
        truth = net.double()(x.double()).numpy()
    assert mil_networks.relative_error(model.predict({"x0": x}, mode="exact")[name], truth) < 1e-14
    declared = model.predict({"x0": x})[name]
    cost = 1e-6 if precision == "float32" else 2e-3
    assert mil_networks.relative_error(declared, truth) < cost
    engine = mil.accelerate(model)
    assert engine.ran.startswith("onnxruntime, all")
    assert mil_networks.relative_error(engine.predict({"x0": x})[name], declared.astype(np.float64)) < 2 * cost
