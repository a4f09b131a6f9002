"""The folded model rounded and blurred, and what a check makes of its choices."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from contract import TINY_SWAG
from fuseport import models
from fuseport.export.artifact import Artifact, NotRun
from fuseport.export.formats import to_onnx
from fuseport.export.job import Checks, Job, Source
from fuseport.export.pipeline import export
from fuseport.export.program import prepare
from fuseport.export.proof.check import yardstick
from fuseport.export.proof.rounded import answers_of_rounded_values, answers_of_rounded_weights, blurred, neighbours
from fuseport.export.request import Request
from fuseport.export.stages import Stages
from fuseport.export.subject import model_input, subject
from fuseport.models import swag
from fuseport.models.tokens.choose import Decision
from fuseport.reparam import RULES, capture, fold
from fuseport.validate.parity import compare
from golden_weights import assert_close, image
from numpy.typing import NDArray
from swag_golden import tiny


def test_blur_has_the_size_asked_for_and_leaves_whole_numbers() -> None:
    draw, x = torch.Generator().manual_seed(0), torch.randn(1000)
    relative = (blurred(x, 1e-3, draw) / x - 1).abs()
    assert 0.9e-3 < float(relative.max()) <= 1.001e-3
    whole = torch.arange(100.0)
    assert torch.equal(blurred(whole, 1e-3, draw), whole)


def test_rounded_and_blurred_models_are_near_the_model_and_differ_from_it() -> None:
    model, x = tiny(depth=2), image((3, 3, 64, 64), "A")
    folded = fold(capture(model, (x[:1],)), RULES).module
    before = {name: value.clone() for name, value in folded.state_dict().items()}
    with torch.no_grad():
        expected = model(x)
    for found in (
        answers_of_rounded_values(folded, (x,)),
        answers_of_rounded_weights(folded, (x,)),
        *neighbours(folded, (x,), "float16"),
        *neighbours(folded, (x,), "float16", weights_only=True),
    ):
        assert_close(found[0], expected, 5e-2)
        assert abs(found[0] - expected.numpy()).max() > 1e-6
    for found in neighbours(folded, (x,), "float32"):
        assert_close(found[0], expected, 1e-4)
    assert all(torch.equal(value, before[name]) for name, value in folded.state_dict().items())


class Above(Decision):
    """Whether each of its numbers reaches one that float16 rounds down to 2."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("least", torch.full((64,), 2.0005))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x >= self.least).to(torch.int32)


class Switch(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.above = Above()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, self.above(x)


def test_constants_that_choices_read_stay_as_they_are() -> None:
    two = torch.full((1, 64), 2.0)  # a whole number, which no noise moves
    graph = capture(Switch().eval(), (two,))
    for found in (
        answers_of_rounded_values(graph, (two,)),
        answers_of_rounded_weights(graph, (two,)),
        *neighbours(graph, (two,), "float16"),
        *neighbours(graph, (two,), "float16", weights_only=True),
    ):
        assert not found[1].any()


def test_a_batch_that_is_fixed_is_filled_up() -> None:
    model, x = tiny(depth=1), image((3, 3, 64, 64), "A")
    folded = fold(capture(model, (x[:2],)), RULES).module
    with torch.no_grad():
        assert_close(answers_of_rounded_values(folded, (x,), 2)[0], model(x), 5e-2)


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny SWAG variants in the table, for the duration of a test."""
    family = ModuleType("swag_tiny")
    shallow = [replace(one, family="swag_tiny", build=partial(one.build)) for one in TINY_SWAG.values()]
    family.VARIANTS = tuple(shallow)  # pyright: ignore
    family.is_timm, family.from_timm, family.is_fused = swag.is_timm, swag.from_timm, swag.is_fused  # pyright: ignore
    monkeypatch.setattr(models, "FAMILIES", (*models.FAMILIES, family))


def job(variant: str, folder: Path, *formats: str, samples: int = 2) -> Job:
    source = Source(variant, model_args={"choices": True})
    return Job(source, formats, Request(), Checks(samples=samples), output_dir=folder)


@pytest.mark.usefixtures("listed")
@pytest.mark.parametrize("variant", ["tome_vit_tiny_in1k", "e_vit_tiny_in1k"])
def test_choices_are_judged_by_overlap_in_both_formats(variant: str, tmp_path: Path) -> None:
    report = export(job(variant, tmp_path, "onnx", "coreml"))
    assert report.outcome == "passed", report.reason
    assert len(report.static_form) == 1
    for result in report.results:
        for check in result.checks:
            assert not isinstance(check.parity, NotRun)
            logits, *choices = check.parity.outputs
            assert logits.name == "logits"
            assert [output.name for output in choices] == [f"choices_{i + 1}" for i in range(len(choices))]
            assert all(output.overlap is not None and output.overlap > 0.9 for output in choices)
            assert choices


@pytest.mark.usefixtures("listed")
def test_a_file_that_chooses_otherwise_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its logits are right, but the tokens that it says it kept are each other's neighbours."""
    honest = to_onnx.runner

    def moved(artifact: Artifact) -> Callable[[dict[str, NDArray]], dict[str, NDArray]]:
        run = honest(artifact)
        return lambda feeds: {
            name: np.roll(values, 1, axis=1) if name.startswith("choices") else values
            for name, values in run(feeds).items()
        }

    monkeypatch.setattr(to_onnx, "runner", moved)
    report = export(job("e_vit_tiny_in1k", tmp_path, "onnx"))
    assert report.outcome == "failed"
    assert "settled labels differ, and rounding explains 0" in report.reason


@pytest.mark.usefixtures("listed")
def test_a_wrong_fold_does_not_explain_its_own_choices(tmp_path: Path) -> None:
    asked = job("e_vit_tiny_in1k", tmp_path, "onnx", samples=1)
    model = subject(asked)
    prepared = prepare(model, asked, Stages())
    wrong = copy.deepcopy(prepared.folded.module)
    for weight in wrong.parameters():
        weight.data = weight.data.flip(0)
    x = model_input(model)
    ours = yardstick(model, replace(prepared.folded, module=wrong), prepared.captured, {"float32"})
    given = dict(zip(model.output_names, neighbours(wrong, x, "float32")[0], strict=True))
    found = compare(
        ours.truth, ours.reference, given, neighbours=ours.neighbours["float32", "all values"], labels=model.choices
    )
    assert {output.verdict for output in found.outputs if output.name in model.choices} == {"failed"}
