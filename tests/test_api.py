"""The main job from Python: what comes back, what stays as it was, what is said of bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from fuseport.export import export_model
from fuseport.export.job import Checks
from fuseport.export.request import BatchRange, Request
from torch import Tensor, nn


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.words = nn.Embedding(9, 4)

    def forward(self, image: Tensor, ids: Tensor, scale: float = 1.0, *, shift: Tensor) -> dict[str, Tensor]:
        seen = self.norm(self.stem(image)).mean((2, 3)) + shift
        return {"seen": seen, "score": (seen * self.words(ids).mean(1)).sum(-1)}


def _net() -> Net:
    torch.manual_seed(0)
    net = Net()
    net(torch.randn(4, 3, 16, 16), torch.zeros(4, 5, dtype=torch.int64), shift=torch.zeros(4, 4))
    return net.eval()


EXAMPLES = {"image": torch.randn(1, 3, 16, 16), "ids": torch.tensor([[1, 8, 2, 0, 3]]), "shift": torch.zeros(1, 4)}
CHECKS = Checks(samples=2)


def test_the_files_of_the_report_compute_what_the_module_computes(tmp_path: Path) -> None:
    net = _net()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    hooks = (len(net._forward_hooks), len(net._forward_pre_hooks), len(list(net.buffers())))
    report = export_model(net, EXAMPLES, output_dir=tmp_path, formats=("onnx",), checks=CHECKS)
    assert (report.outcome, report.variant, report.weights.kind) == ("passed", "Net", "own"), report.reason
    (result,) = report.results
    assert result.artifact.path == tmp_path / "Net.onnx"
    session = onnxruntime.InferenceSession(result.artifact.path)
    feed = {name: value.numpy() for name, value in EXAMPLES.items()}
    expected = net(EXAMPLES["image"], EXAMPLES["ids"], shift=EXAMPLES["shift"])
    for name, given in zip(("seen", "score"), session.run(["seen", "score"], feed), strict=True):
        np.testing.assert_allclose(given, expected[name].detach().numpy(), rtol=1e-4, atol=1e-5)
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])
    assert hooks == (len(net._forward_hooks), len(net._forward_pre_hooks), len(list(net.buffers())))


def test_pictures_names_and_an_open_batch(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    report = export_model(
        net,
        torch.zeros(1, 3, 16, 16),
        output_dir=tmp_path,
        formats=["onnx"],
        name="small",
        input_name="picture",
        output_names=["classes"],
        condition=True,
        request=Request(batch=BatchRange(1, 4)),
        checks=CHECKS,
    )
    assert report.outcome == "passed", report.reason
    (artifact,) = (result.artifact for result in report.results)
    assert (artifact.inputs[0].name, artifact.inputs[0].shape) == ("picture", ("batch", 3, 16, 16))
    assert (artifact.outputs[0].name, artifact.path.name) == ("classes", "small.onnx")
    assert report.weights.kind == "conditioned"
    assert net[1].running_mean.eq(0).all(), "weights are conditioned on a copy"  # pyright: ignore


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        (np.zeros((1, 3, 8, 8)), "example inputs are ndarray; expected a tensor, several, or a dict"),
        ([3.0], "an example input is float; expected a tensor"),
        ((), "the shapes of the model's inputs are not known"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.complex64), "an example input is complex64; expected float32"),
        (torch.zeros(1, 4, 8, 8), "does not take input .1, 4, 8, 8. float32"),
        ({"picture": torch.zeros(1, 3, 8, 8), "input": torch.zeros(1, 1)}, "no parameter 'picture'; it has input"),
    ],
)
def test_examples_that_the_module_does_not_take(tmp_path: Path, examples: object, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        export_model(nn.Conv2d(3, 4, 3).eval(), examples, output_dir=tmp_path / "out", formats=("onnx",))  # pyright: ignore
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_module_in_training_mode(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"training mode; .* call \.eval\(\) first"):
        export_model(Net(), EXAMPLES, output_dir=tmp_path)
