"""`assert_parity` in a test of one's own: it passes, fails with the place, refuses in one line; and is a fixture."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from exported import doubling
from fuseport.export.assertion import NotAssertable, assert_parity
from fuseport.models.loaded import load
from torch import nn

pytestmark = pytest.mark.usefixtures("tiny")
pytest_plugins = ("pytester",)


@pytest.fixture
def model(tiny: object) -> nn.Module:
    """The module that the exported files are of."""
    return load("shvit_tiny", num_classes=10).module


def test_files_of_both_formats_pass(exported: Path, model: nn.Module) -> None:
    report = assert_parity(model, exported / "shvit_tiny.onnx", exported / "shvit_tiny.mlpackage", samples=2)
    (told,) = {result.against for result in report.results}
    assert told.startswith("SHViT, weights: the model's own, as SHViT has them, sha256 ")
    inputs = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert_parity(model.double(), str(exported / "shvit_tiny.onnx"), inputs=inputs)


def test_a_file_that_nothing_can_judge_fails(exported: Path, model: nn.Module) -> None:
    with pytest.raises(AssertionError, match=r"parity not checked: .*ignores its input"):
        assert_parity(model, exported / "shvit_tiny.onnx", inputs=np.full((2, 3, 64, 64), 0.5, np.float32))


class Branching(nn.Module):
    """Doubles, by a way that depends on the numbers: torch.export cannot take it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + x if float(x.sum()) > 0 else 2 * x


def test_a_model_that_cannot_be_captured_is_compared_all_the_same(tmp_path: Path) -> None:
    model = Branching().eval()
    report = assert_parity(model, doubling(tmp_path / "net.onnx"))
    assert report.results[0].notes[0].startswith("no cost of float16 is measured, and no layer named: ")
    with pytest.raises(AssertionError, match="exceeds"):
        assert_parity(model, doubling(tmp_path / "net.onnx", factor=2.01))


class Drawing(nn.Module):
    """Doubles, and adds a little noise of its own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + x + 1e-7 * torch.randn_like(x)


class DrawingByBranch(Branching):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + 1e-7 * torch.randn_like(x)


@pytest.mark.parametrize("model", [Drawing(), DrawingByBranch()], ids=["captured", "not captured"])
def test_a_model_that_draws_random_numbers_is_no_measure(model: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no file can be held against Drawing.*: random numbers are drawn"):
        assert_parity(model.eval(), doubling(tmp_path / "net.onnx"))


def test_what_cannot_be_compared_is_said_in_one_line(exported: Path, model: nn.Module) -> None:
    file = exported / "shvit_tiny.onnx"
    for make, told in (
        (lambda: assert_parity(3, file), "expected a torch module or the name of a model, got int"),  # pyright: ignore
        (lambda: assert_parity(nn.Identity().train(), file), "in training mode"),
        (lambda: assert_parity(model, exported / "no.onnx"), "there is no such file"),
        (lambda: assert_parity(model, file, mean=(0.5,)), "mean= and std= go together"),
        (lambda: assert_parity(model, file, inputs=torch.zeros(2, 3)), "SHViT does not take"),
        (lambda: assert_parity("shvit_s9", file), "unknown variant 'shvit_s9'"),
    ):
        with pytest.raises(ValueError, match=r"^[^\n]+$") as error:
            make()
        assert told in str(error.value)
    assert issubclass(NotAssertable, ValueError)


USER = """
import sys
import torch
from torch import nn

sys.path.insert(0, {tests!r})
from exported import first_conv
from fuseport import models
from fuseport.models.loaded import load
from tiny import family

models.FAMILIES = (*models.FAMILIES, family())
FILE = {file!r}

def test_wrong(assert_parity):
    model = load("shvit_tiny", num_classes=10).module
    with torch.no_grad():
        first_conv(model).weight.mul_(2)
    assert_parity(model, FILE, samples=2)
"""


def test_a_failure_in_a_project_of_someone_else_names_output_error_bound_and_layer(
    exported: Path, pytester: pytest.Pytester
) -> None:
    file, tests = str(exported / "shvit_tiny.onnx"), str(Path(__file__).parent)
    pytester.makepyfile(USER.format(file=file, tests=tests))
    done = pytester.runpytest_inprocess("-p", "fuseport.export.pytest_plugin")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        [
            "E *parity failed: shvit_tiny.onnx*",
            "E * logits: failed: relative L2 error*exceeds*",
            "E * layer: *patch_embed.0*",
        ]
    )
    assert "Captured log" not in done.stdout.str()
    assert not any("assertion.py" in line for line in done.stdout.lines)


def test_pytest_starts_without_torch() -> None:
    asked = "import sys, fuseport.export.pytest_plugin; print({'torch', 'numpy', 'coremltools'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "set()"
