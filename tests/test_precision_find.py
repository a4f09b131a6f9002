"""Models built to leave float16: what must stay wide is found, with the reason, and the file then passes its check."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import torch
from fuseport import models
from fuseport.export.job import Checks, Job, Source
from fuseport.export.pipeline import UsageError, export
from fuseport.export.report import ExportReport
from fuseport.export.request import Request
from fuseport.models import shvit
from fuseport.models.preprocessing import Preprocessing
from fuseport.models.variant import Variant
from torch import Tensor, nn


class Net(nn.Module):
    """(N, 3, 32, 32) → (N, 40): a convolution, one part that float16 cannot compute, a linear layer."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 4, 4)
        self.part = part
        self.head = nn.Linear(16, 40)

    def forward(self, x: Tensor) -> Tensor:
        tokens = torch.relu(self.stem(x)).flatten(2).transpose(1, 2)  # (N, 64, 16)
        return self.head(self.part(tokens).mean(1))


class SquareNorm(nn.Module):
    """Tokens over their length: squares of values in the hundreds exceed 65504."""

    def forward(self, x: Tensor) -> Tensor:
        x = 400 * x
        return x / torch.sqrt((x * x).sum(-1, keepdim=True) + 1.0)


class LargeSoftmax(nn.Module):
    """Attention whose scores are large sums: their differences are lost between two numbers of float16."""

    def forward(self, x: Tensor) -> Tensor:
        scores = 30000 + 8 * (x @ (2 * x).transpose(1, 2))
        return torch.softmax(scores, -1) @ x


class MaskedSoftmax(nn.Module):
    """Two masks of finfo.min that meet: in float16 their sum is minus infinity, and a row of them is NaN."""

    def __init__(self) -> None:
        super().__init__()
        mask = torch.zeros(64, 64)
        mask[:, 40:] = mask[50:] = torch.finfo(torch.float32).min / 4
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        scores = x @ (2 * x).transpose(1, 2) + self.get_buffer("mask") + self.get_buffer("mask")
        return torch.softmax(scores, -1) @ x


PARTS = {"square": SquareNorm, "softmax": LargeSoftmax, "mask": MaskedSoftmax, "plain": nn.Identity}


def build(part: str, **_: object) -> nn.Module:
    return Net(PARTS[part]())


@pytest.fixture
def nets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variants net_square, net_softmax, net_mask and net_plain."""
    made = ModuleType("nets")
    given = replace(Preprocessing(size=32, resize=36))
    made.VARIANTS = tuple(  # pyright: ignore
        Variant(f"net_{part}", "nets", partial(build, part), given, parameters=1, macs=1) for part in PARTS
    )
    made.is_timm, made.from_timm, made.is_fused = shvit.is_timm, shvit.from_timm, shvit.is_fused  # pyright: ignore
    monkeypatch.setattr(models, "FAMILIES", (*models.FAMILIES, made))


def job(folder: Path, part: str, **changed: object) -> Job:
    made = Job(Source(f"net_{part}"), ("coreml",), Request(), Checks(samples=2), output_dir=folder)
    return replace(made, **changed)  # pyright: ignore


def kept(report: ExportReport) -> dict[str, str]:
    """Operator → cause."""
    assert report.mixed_precision is not None
    return {one.operator: one.cause for one in report.mixed_precision.float32}


@pytest.mark.usefixtures("nets")
@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("softmax", {"add": "rounding", "softmax": "rounding"}),
        ("mask", {"add": "overflow"}),
    ],
)
def test_what_float16_cannot_compute_is_kept_wide(part: str, expected: dict[str, str], tmp_path: Path) -> None:
    report = export(job(tmp_path, part, find_precision=True))
    assert report.outcome == "passed", report.reason
    assert expected.items() <= kept(report).items(), report.mixed_precision
    plan = report.mixed_precision
    assert plan is not None
    assert plan.operators - len(plan.float32) > len(plan.float32)
    here = [one for one in plan.float32 if one.operator in expected]
    assert all(one.source.startswith("tests/test_precision_find.py:") and one.module == "part" for one in here)


@pytest.mark.usefixtures("nets")
def test_a_failed_file_says_why_and_a_plan_mends_it_again(tmp_path: Path) -> None:
    plain = export(job(tmp_path, "square"))
    assert plain.outcome == "failed"
    assert "rounding overflows at part (mul, tensor 'mul_cast_fp16'), tests/test_precision_find.py:" in plain.reason
    assert "; --precision auto finds the operators that must stay in float32" in plain.reason
    found = export(job(tmp_path, "square", find_precision=True))
    assert found.mixed_precision is not None
    assert found.mixed_precision.extra_bytes == found.results[0].artifact.bytes - plain.results[0].artifact.bytes
    again = export(job(tmp_path / "again", "square", precision_file=tmp_path / "net_square.precision.json"))
    assert again.results[0].artifact.sha256 == found.results[0].artifact.sha256


@pytest.mark.usefixtures("nets")
def test_a_file_that_passes_keeps_nothing(tmp_path: Path) -> None:
    report = export(job(tmp_path, "plain", find_precision=True))
    assert report.outcome == "passed"
    assert report.mixed_precision is not None
    assert report.mixed_precision.float32 == ()
    assert report.mixed_precision.describe() == "plain float16 passes its check: nothing to keep in float32"


@pytest.mark.usefixtures("nets")
def test_what_no_precision_helps_is_said_to_be_so(tmp_path: Path) -> None:
    report = export(job(tmp_path, "plain", find_precision=True, checks=Checks(samples=1, rtol=1e-7)))
    assert report.outcome == "failed"
    assert report.mixed_precision is not None
    assert report.mixed_precision.reason.startswith(
        "nothing was found to keep in float32: with every operator in float32 the error would still be "
    )
    assert report.mixed_precision.reason.endswith("ask for --precision float32")


@pytest.mark.usefixtures("nets")
def test_plans_are_for_core_ml(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--precision auto is for Core ML files, but the formats are onnx; add coreml"):
        export(job(tmp_path, "plain", formats=("onnx",), find_precision=True))


@pytest.mark.usefixtures("nets")
def test_a_plan_of_another_model_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    file = tmp_path / "other.precision.json"
    plan = {"schema": "fuseport.precision/1", "variant": "other", "graph": "0" * 16, "float32": [{"name": "mul_7"}]}
    file.write_text(json.dumps(plan))
    with pytest.raises(UsageError, match=r"this model has not: mul_7 \(it was made for other\)"):
        export(job(tmp_path / "out", "plain", precision_file=file))
    file.write_text(json.dumps(plan | {"float32": []}))
    with pytest.raises(UsageError, match="was made for another graph"):
        export(job(tmp_path / "out", "plain", precision_file=file))
    assert not (tmp_path / "out").exists()
