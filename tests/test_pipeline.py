"""A whole run on a small model: what is written, what is proven, and what is left alone when something fails."""

from __future__ import annotations

import errno
import json
import os
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from fuseport.export import FORMATS
from fuseport.export.artifact import NotRun
from fuseport.export.formats import to_onnx
from fuseport.export.job import Checks, Job, Source
from fuseport.export.pipeline import UsageError, export
from fuseport.export.profile import timing
from fuseport.export.report import ExportReport, Result, outcome_of
from fuseport.export.request import BatchRange, Request
from fuseport.validate.measure import Plan
from fuseport.validate.parity import Parity
from fuseport.validate.xcode.manifest import read_records
from PIL import Image

pytestmark = pytest.mark.usefixtures("tiny")

ONNX_ONLY = ("onnx",)
BOTH = ("onnx", "coreml")


def job(folder: Path, formats: tuple[str, ...] = ONNX_ONLY, **changed: object) -> Job:
    """A run on the tiny variant with 10 classes."""
    source = Source("shvit_tiny", num_classes=10)
    made = Job(source, formats, Request(), Checks(samples=2), output_dir=folder)
    return replace(made, **changed)  # pyright: ignore


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def verdicts(result: Result) -> dict[str, str]:
    """Engine → verdict; Core ML itself, which runs on macOS alone, left out."""
    return {
        check.engine: "not run" if isinstance(check.parity, NotRun) else check.parity.verdict
        for check in result.checks
        if not check.engine.startswith("Core ML")
    }


@pytest.fixture
def full(exported: Path, tmp_path: Path) -> Path:
    """A folder that an earlier export of both formats has filled."""
    shutil.copytree(exported, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_both_formats_and_the_report(exported_report: ExportReport) -> None:
    report, folder = exported_report, exported_report.folder
    assert {path.name for path in folder.iterdir()} == {
        "shvit_tiny.onnx",
        "shvit_tiny.mlpackage",
        "shvit_tiny.report.json",
    }
    onnx_result, coreml_result = report.results
    assert verdicts(onnx_result) == {"ONNX Runtime, CPU": "passed"}
    assert verdicts(coreml_result) == {"executor, exact": "passed", "executor, declared": "passed"}
    assert onnx_result.artifact.export_id == coreml_result.artifact.export_id == report.export_id
    assert report.folded.after.batch_norms == 0
    written = json.loads((folder / "shvit_tiny.report.json").read_text())
    assert written["schema"] == "fuseport.report/1"
    assert written["results"][0]["artifact"]["path"] == "shvit_tiny.onnx"
    assert written["results"][0]["checks"][0]["parity"]["verdict"] == "passed"
    assert written["weights"]["kind"] == "conditioned"
    covered = written["results"][0]["coverage"]
    assert covered["seen"] == covered["total"] > 50
    assert written["results"][1]["coverage"]["total"] == covered["total"]
    onnx_record, coreml_record = read_records([folder])
    assert onnx_record.export_id == coreml_record.export_id == report.export_id
    assert set(coreml_record.modules.values()) > {"patch_embed.0.c", "blocks2.3.mixer.m.proj.1.c", "head.l"}
    assert len(written["folded"]["rewrites"]) == len(report.folded.rewrites) > 20
    assert written["stages"]
    assert str(folder) not in json.dumps(written)


def test_metadata_says_where_the_weights_come_from(exported: Path) -> None:
    told = {entry.key: entry.value for entry in onnx.load(exported / "shvit_tiny.onnx").metadata_props}
    assert told["fuseport.weights"] == "random, conditioned, seed 0"
    assert told["fuseport.variant"] == "shvit_tiny"
    assert told["fuseport.export_id"]


def test_the_same_input_gives_the_same_bytes(exported: Path, tmp_path: Path) -> None:
    export(job(tmp_path, BOTH))
    first, second = (
        {path: data for path, data in files(folder).items() if "report" not in path} for folder in (exported, tmp_path)
    )
    assert first == second


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
def test_pictures_as_input(tmp_path: Path, layout: str) -> None:
    report = export(job(tmp_path, image_input=layout))
    (result,) = report.results
    assert verdicts(result) == {"ONNX Runtime, CPU": "passed"}
    (given,) = result.artifact.inputs
    assert (given.dtype, given.shape) == ("uint8", (1, 64, 64, 3) if layout == "nhwc" else (1, 3, 64, 64))
    assert "affine-into-next" in {step.rule for step in report.folded.rewrites if step.where == ""}
    assert report.contract["inside_the_model"] == ["range", "mean", "std"]


def test_an_open_batch(tmp_path: Path) -> None:
    report = export(job(tmp_path, request=Request(batch=BatchRange(1, 8))))
    (result,) = report.results
    assert result.artifact.inputs[0].shape == ("batch", 3, 64, 64)
    runner = to_onnx.runner(replace(result.artifact, path=tmp_path / "shvit_tiny.onnx"))
    for batch in (1, 3):
        assert runner({"image": np.zeros((batch, 3, 64, 64), np.float32)})["logits"].shape == (batch, 10)


def test_stage_features(tmp_path: Path) -> None:
    source = Source("shvit_tiny", model_args={"features": True})
    report = export(job(tmp_path, source=source))
    (result,) = report.results
    assert [output.name for output in result.artifact.outputs] == ["stage1", "stage2", "stage3"]
    assert report.outcome == "passed"


def test_pictures_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (3, 80, 90, 3), np.uint8)
    for number, picture in enumerate(pixels):
        Image.fromarray(picture).save(tmp_path / "pictures" / f"{number}.png")
    report = export(job(tmp_path / "out", checks=Checks(samples=5, images=tmp_path / "pictures")))
    (result,) = report.results
    parity = result.checks[0].parity
    assert isinstance(parity, Parity)
    assert (parity.samples, parity.inputs) == (3, "3 pictures of pictures")


def test_latency_of_the_model_and_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "measure", partial(timing.measure, plan=Plan(min_samples=5, max_seconds=0)))
    report = export(job(tmp_path, checks=Checks(samples=1, benchmark=True)))
    assert list(report.latencies) == ["PyTorch", "PyTorch, folded", "shvit_tiny.onnx"]


# ---- a check that says no --------------------------------------------------------------------------------------------


def _spoil(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the ONNX file lose a bit of one weight after it is written; the names of the tensors made with it."""
    honest = to_onnx.convert
    wrong: list[str] = []

    def convert(*args: object, **named: object) -> object:
        artifact = honest(*args, **named)  # pyright: ignore
        model = onnx.load(artifact.path)
        weight = next(entry for entry in model.graph.initializer if len(entry.dims) == 4)
        values = onnx.numpy_helper.to_array(weight).copy()
        values[0] *= 1.05
        wrong.extend(node.output[0] for node in model.graph.node if weight.name in node.input)
        weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
        onnx.save(model, artifact.path)
        return artifact

    monkeypatch.setattr(to_onnx, "convert", convert)
    return wrong


def test_a_wrong_file_is_put_aside_and_the_good_one_stays(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files(full)
    wrong = _spoil(monkeypatch)
    report = export(job(full))
    assert report.outcome == "failed"
    (check,) = report.results[0].checks
    assert check.layer is not None
    assert check.layer.tensor == wrong[0]
    assert f"the error jumps at {check.layer.module} (conv2d, tensor '{wrong[0]}'), " in report.reason
    assert report.folder == full / "shvit_tiny.failed"
    assert set(files(report.folder)) == {"shvit_tiny.onnx", "shvit_tiny.report.json"}
    assert {name: data for name, data in files(full).items() if ".failed" not in name} == before


def test_a_check_that_did_not_run_fails_where_parity_is_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(to_onnx, "runner", lambda artifact: NotRun("no runtime here"))
    required = export(job(tmp_path, checks=Checks(samples=1, require_parity=True)))
    assert required.outcome == "failed"
    assert "no runtime here" in required.reason
    assert outcome_of(required.results, require_parity=False)[0] == "not checked"


# ---- failures that must change nothing -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), RuntimeError("converter broke"), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))]
)
def test_a_failed_run_leaves_the_folder_as_it_was(
    full: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    before = files(full)

    def broken(*args: object, **named: object) -> None:
        raise error

    monkeypatch.setattr(FORMATS["coreml"], "convert", broken)
    with pytest.raises(type(error)):
        export(job(full, BOTH))
    assert files(full) == before
    assert {path.name for path in full.iterdir()} == {name.split("/")[0] for name in before}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"source": Source("shvit_tny")}, "unknown variant 'shvit_tny' .did you mean shvit_tiny"),
        ({"source": Source("shvit_tiny", checkpoint=Path("nowhere.pth"))}, "nowhere.pth"),
        ({"source": Source("shvit_tiny", image_size=8)}, "at least"),
        ({"source": Source("shvit_tiny", model_args={"depth": 3})}, "no option 'depth'"),
        ({"source": Source("shvit_tiny", in_chans=1), "image_input": "nhwc"}, "3 channels"),
        ({"labels": "imagenet-1k"}, "10 classes, but imagenet-1k names 1000"),
        ({"formats": ()}, "no format asked for; known: onnx, coreml"),
        ({"request": Request(opset=9)}, "opset 9 is not supported; supported: "),
        ({"formats": ("coreml",), "request": Request(deployment_target="iOS9")}, "iOS9 is not supported; supported: "),
        ({"formats": ("coreml",), "request": Request(batch=BatchRange(1, None))}, "upper bound"),
        ({"checks": Checks(images=Path("no_folder"))}, "no_folder"),
    ],
)
def test_bad_input_is_said_in_one_line_and_changes_nothing(
    tmp_path: Path, changed: dict[str, object], message: str
) -> None:
    out = tmp_path / "out"
    with pytest.raises(UsageError, match=message) as caught:
        export(job(out, **changed))
    assert "\n" not in str(caught.value)
    assert not out.exists()


def test_an_output_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UsageError, match=r"out is a file; expected a folder"):
        export(job(tmp_path / "out"))
    with pytest.raises(OSError, match="cannot write into"):
        export(job(tmp_path / "out" / "deeper"))
    assert (tmp_path / "out").read_text() == "mine"


def test_a_missing_backend_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, extra in ((FORMATS["onnx"], "onnx"), (FORMATS["coreml"], "coreml")):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
        with pytest.raises(UsageError, match=rf"fuseport\[{extra}\]"):
            export(job(tmp_path / "out", (module.NAME,)))
