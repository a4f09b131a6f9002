"""A float16 package is held against the model with its constants rounded: what is seen then, and what is left alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import coremltools as ct
import mil_mutations
import pytest
import torch
from exported import JOB
from fuseport import models
from fuseport.export.artifact import NotRun
from fuseport.export.formats import to_coreml
from fuseport.export.job import Job, Source
from fuseport.export.program import Prepared, prepare
from fuseport.export.proof.same_constants import kept_wide
from fuseport.export.quiet import quiet
from fuseport.export.recheck import recheck
from fuseport.export.recheck.mapping import bridge
from fuseport.export.recheck.targets import Asked, target
from fuseport.export.request import Request
from fuseport.export.saved.opened import open_artifact
from fuseport.export.stages import Stages
from fuseport.export.subject import Subject, subject
from tiny import family

pytestmark = pytest.mark.usefixtures("tiny")

Model = tuple[Subject, Prepared]


@pytest.fixture(scope="module")
def plain() -> Model:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "FAMILIES", (*models.FAMILIES, family()))
        return made(JOB)


def made(job: Job) -> Model:
    model = subject(job)
    return model, prepare(model, job, Stages(lambda stage: None))


def ours(path: Path, model: Model, **changed: Any) -> Path:
    """The small variant in float16, by us."""
    request = Request(image_input=model[0].image_input, **changed)
    names = {"input_names": model[0].input_names, "output_names": model[0].output_names, "export_id": ""}
    return to_coreml.convert(model[1].program, path, request, {}, **names).path


def theirs(path: Path, model: Model) -> Path:
    """The small variant in float16, as coremltools alone makes it of the model that nothing was folded in."""
    module = model[0].loaded.module
    with quiet("torch"), torch.no_grad():
        program = torch.export.export(module, (torch.zeros(1, 3, 64, 64),), strict=False).run_decompositions({})
        ct.convert(program).save(str(path))  # pyright: ignore
    return path


def checked(path: Path, model: Model) -> recheck.FileCheck:
    """As `fuseport check` does it, with the model captured and folded already."""
    asked = Asked((path,), source=Source("shvit_tiny", num_classes=10), checks=JOB.checks)
    one, stages = target(path, asked, None), Stages(lambda stage: None)
    assert one.job is not None
    found = recheck.measured(model[0], one.job, [one.artifact], stages, model[1])
    return recheck.check_file(one, bridge(one.artifact, model[0].feed, {}), found, asked)


FILES: dict[str, Callable[[Path, Model], Path]] = {
    "iOS17": partial(ours, deployment_target="iOS17"),
    "one operator in float32": partial(ours, float32=("conv2d_3",)),
    "theirs": theirs,
}


@pytest.mark.parametrize("name", ["iOS17", "theirs", pytest.param("one operator in float32", marks=pytest.mark.slow)])
def test_a_right_file_passes_and_one_wrong_channel_does_not(name: str, plain: Model, tmp_path: Path) -> None:
    seen(FILES[name](tmp_path / "net.mlpackage", plain), plain)


@pytest.mark.slow
def test_a_picture_input(tmp_path: Path) -> None:
    model = made(replace(JOB, image_input="nhwc"))
    seen(ours(tmp_path / "net.mlpackage", model), model)


def seen(path: Path, model: Model) -> None:
    """The file passes, beside the model with its constants rounded as well; with one channel wrong it does not."""
    right = checked(path, model)
    assert not right.notes
    assert not right.findings
    exact = right.checks[0].parity
    assert not isinstance(exact, NotRun)
    assert exact.verdict == "passed", exact.reason
    assert "beside the model with the same constants rounded" in exact.reason
    tensor = mil_mutations.one_channel_wrong(path, 2)
    (finding,) = checked(path, model).findings
    assert (finding.stage, tensor in finding.what) == ("layer", True), finding


def test_what_cannot_be_judged_says_why(plain: Model, tmp_path: Path) -> None:
    path, program = ours(tmp_path / "net.mlpackage", plain), plain[1].program
    artifact = open_artifact(path)
    assert kept_wide(artifact, program) == ()
    squeezed = replace(artifact, operations={"constexpr_lut_to_dense": 3})
    assert told(kept_wide(squeezed, program)) == "its weights are compressed (3 constexpr_lut_to_dense)"
    saved = mil_mutations.read(path)
    for weight in saved.all_weights():
        weight[...] = weight[::-1].copy()
    mil_mutations.write(saved, path)
    assert "of the model's" in told(kept_wide(artifact, program))
    saved = mil_mutations.read(path)
    made = saved.operations("conv")[0].outputs[0]
    for argument in (
        entry for one in saved.block.operations for given in one.inputs.values() for entry in given.arguments
    ):
        argument.name = argument.name if argument.name != made.name else "unknown"
    made.type.tensorType.dataType, made.name = 11, "unknown"
    mil_mutations.write(saved, path)
    assert "1 are that it keeps in float32 cannot be told" in told(kept_wide(artifact, program))


def told(found: object) -> str:
    assert isinstance(found, NotRun)
    return found.reason
