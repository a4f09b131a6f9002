"""Files are checked again, ours and foreign ones: what passes, what fails and why, and what cannot be used."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from exported import bgr, edited, export_to
from fuseport.export.artifact import NotRun
from fuseport.export.job import Checks, Source
from fuseport.export.recheck import recheck as module
from fuseport.export.recheck.against import NoReference
from fuseport.export.recheck.recheck import Asked, CheckReport, recheck
from fuseport.export.recheck.stored import StoredError, feed_of, read_stored
from fuseport.export.report import as_json
from fuseport.export.saved.opened import open_artifact
from onnx import TensorProto, helper
from PIL import Image

pytestmark = pytest.mark.usefixtures("tiny")

TINY = Source("shvit_tiny", num_classes=10)


def asked(*paths: Path, **more: Any) -> Asked:
    return Asked(paths, checks=Checks(samples=2), **more)


def verdicts(report: CheckReport) -> list[str]:
    """One for each engine, Core ML itself left out, which runs on macOS alone."""
    checks = [check for result in report.results for check in result.checks if not check.engine.startswith("Core ML")]
    return ["not run" if isinstance(check.parity, NotRun) else check.parity.verdict for check in checks]


def copied(folder: Path, name: str, to: Path) -> Path:
    """The file without its report."""
    source = folder / name
    return Path((shutil.copytree if source.is_dir() else shutil.copy)(source, to / name))


def test_our_files_pass_again_from_their_report(exported: Path) -> None:
    report = recheck(asked(exported / "shvit_tiny.onnx", exported / "shvit_tiny.mlpackage"))
    assert (report.outcome, verdicts(report)) == ("passed", ["passed"] * 3)
    assert all(not result.notes and not result.findings for result in report.results)
    written = json.loads(as_json(report))
    assert written["schema"] == "fuseport.check/1"
    assert [result["artifact"]["path"] for result in written["results"]] == ["shvit_tiny.onnx", "shvit_tiny.mlpackage"]
    assert str(exported) not in as_json(report)


def test_an_opened_file_says_what_its_export_said(exported: Path) -> None:
    record = json.loads((exported / "shvit_tiny.report.json").read_text())
    for entry in record["results"]:
        said, found = entry["artifact"], open_artifact(exported / entry["artifact"]["path"])
        assert (found.sha256, found.bytes, found.precision) == (said["sha256"], said["bytes"], said["precision"])
        assert found.operations == said["operations"]
        assert [(spec.name, list(spec.shape)) for spec in found.inputs] == [
            (spec["name"], spec["shape"]) for spec in said["inputs"]
        ]
        assert [spec.name for spec in found.outputs] == [spec["name"] for spec in said["outputs"]]


def test_the_answer_of_another_model_fails(exported: Path, tmp_path: Path) -> None:
    other = edited(exported, tmp_path, lambda weight: 1.5 * weight)
    report = recheck(asked(other))
    assert report.outcome == "failed"
    (result,) = report.results
    assert "has changed since its report" in result.notes[0]
    assert [finding.stage for finding in result.findings][-1:] == ["layer"]
    assert "patch_embed.0" in result.findings[-1].what


def test_a_file_with_other_weights_is_told_from_a_fault(exported: Path) -> None:
    other = Source("shvit_tiny", num_classes=10, seed=1)
    (result,) = recheck(asked(exported / "shvit_tiny.onnx", against="shvit_tiny", source=other)).results
    assert "this looks like another model, or other weights" in result.findings[-1].what, result.findings


STD = np.array([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (lambda weight: weight[:, ::-1], "after the normalisation"),
        (lambda weight: weight * STD, "the std is not divided by"),
    ],
    ids=["bgr", "std"],
)
def test_a_wrong_preprocessing_is_found_and_named(
    fault: Callable[[np.ndarray], np.ndarray], told: str, exported: Path, tmp_path: Path
) -> None:
    report = recheck(asked(edited(exported, tmp_path, fault), against="shvit_tiny", source=TINY))
    assert report.outcome == "failed"
    ((finding,),) = (result.findings for result in report.results)
    assert (finding.stage, told in finding.what) == ("preprocessing", True), finding


@pytest.mark.slow
def test_a_package_that_was_made_for_bgr_is_found(tmp_path: Path) -> None:
    export_to(tmp_path, bgr, formats=("coreml",), image_input="nchw")
    report = recheck(asked(tmp_path / "shvit_tiny.mlpackage", against="shvit_tiny", source=TINY))
    assert report.outcome == "failed"
    ((finding,),) = (result.findings for result in report.results)
    assert (finding.stage, "red and blue are exchanged" in finding.what) == ("preprocessing", True), finding


def foreign(folder: Path, to: Path) -> Path:
    """The tiny ONNX file as another tool might have written it: other names, NHWC, and pictures of 0..255."""
    model = onnx.load(folder / "shvit_tiny.onnx")
    (old,) = model.graph.input
    (out,) = model.graph.output
    mean, std = (
        np.array(values, np.float32).reshape(1, 3, 1, 1) * 255
        for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(value, name) for name, value in (("m", mean), ("s", std))
    )
    head = [
        helper.make_node("Transpose", ["pixels"], ["first"], perm=[0, 3, 1, 2]),
        helper.make_node("Sub", ["first", "m"], ["centred"]),
        helper.make_node("Div", ["centred", "s"], [old.name]),
    ]
    nodes = [*head, *model.graph.node, helper.make_node("Identity", [out.name], ["Identity_0"])]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    old.CopyFrom(helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 64, 64, 3]))
    out.name = "Identity_0"
    onnx.save(model, to / "theirs.onnx")
    return to / "theirs.onnx"


def test_a_foreign_file_passes_when_it_is_fed_as_it_wants(exported: Path, tmp_path: Path) -> None:
    theirs = foreign(exported, tmp_path)
    report = recheck(asked(theirs, against="shvit_tiny", source=TINY))
    assert report.outcome == "failed"
    (finding,) = report.results[0].findings
    assert finding.what == "the file normalises by itself, from pictures of 0..255"
    report = recheck(
        asked(theirs, against="shvit_tiny", source=TINY, output_map={"Identity_0": "logits"}, input_range="0..255")
    )
    assert report.outcome == "passed"


def test_a_checkpoint_must_be_the_one_of_the_report(exported: Path, tmp_path: Path) -> None:
    from fuseport.models.loaded import load

    weights = load("shvit_tiny", num_classes=10, seed=7).module.state_dict()
    torch.save(weights, tmp_path / "mine.pth")
    source = replace(TINY, num_classes=None, checkpoint=tmp_path / "mine.pth")
    export_to(tmp_path, source=source, formats=("onnx",))
    ours = tmp_path / "shvit_tiny.onnx"
    paths = exported / "shvit_tiny.onnx", ours, exported / "shvit_tiny.mlpackage"
    report = recheck(asked(*paths))
    assert [result.artifact.path for result in report.results] == list(paths)  # in order, though of two models
    assert report.outcome == "passed"
    assert recheck(asked(ours, against=str(tmp_path / "mine.pth"))).outcome == "passed"
    (tmp_path / "alone").mkdir()
    other = copied(exported, "shvit_tiny.onnx", tmp_path / "alone")
    assert recheck(asked(other, against=str(tmp_path / "mine.pth"), source=Source("shvit_tiny"))).outcome == "failed"
    with pytest.raises(NoReference, match=r"is a checkpoint: say of which model with --variant"):
        recheck(asked(other, against=str(tmp_path / "mine.pth")))
    torch.save(
        {name: value + 0.1 for name, value in weights.items() if value.is_floating_point()}, tmp_path / "mine.pth"
    )
    with pytest.raises(NoReference, match=r"mine.pth is not the checkpoint of shvit_tiny.report.json: sha256"):
        recheck(asked(ours))
    (tmp_path / "mine.pth").unlink()
    with pytest.raises(NoReference, match=r"mine.pth, which is neither beside it nor here; give --checkpoint FILE"):
        recheck(asked(ours))


def stored(exported: Path, to: Path, **changed: np.ndarray) -> Path:
    """Inputs of the ONNX file and the outputs that it gives."""
    from fuseport.export.formats import to_onnx

    images = np.random.default_rng(0).normal(size=(3, 3, 64, 64)).astype(np.float32)
    run = to_onnx.runner(open_artifact(exported / "shvit_tiny.onnx"))
    logits = np.concatenate([run({"image": images[i : i + 1]})["logits"] for i in range(3)])
    np.savez(to / "cases.npz", **{"image": images, "logits": logits, **changed})  # pyright: ignore
    return to / "cases.npz"


def test_stored_inputs_and_outputs(exported: Path, tmp_path: Path) -> None:
    cases = stored(exported, tmp_path)
    assert recheck(asked(exported / "shvit_tiny.onnx", inputs=cases)).outcome == "passed"
    alone = [copied(exported, f"shvit_tiny.{suffix}", tmp_path) for suffix in ("onnx", "mlpackage")]
    report = recheck(asked(*alone, inputs=cases))
    assert (report.outcome, verdicts(report)) == ("passed", ["passed"] * 3)
    assert report.results[0].against == "the outputs stored in cases.npz"
    wrong = stored(exported, tmp_path, logits=np.load(cases)["logits"][:, ::-1])
    assert recheck(asked(*alone, inputs=wrong)).outcome == "failed"


def test_pictures_of_a_folder(exported: Path, tmp_path: Path) -> None:
    for seed in range(2):
        pixels = np.random.default_rng(seed).integers(0, 256, (80, 90, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((300, 200)).save(tmp_path / f"{seed}.png")
    chosen = Asked((exported / "shvit_tiny.onnx",), checks=Checks(samples=2, images=tmp_path))
    report = recheck(chosen)
    assert report.outcome == "passed"
    assert f"2 pictures of {tmp_path.name}" in as_json(report)


def test_a_file_that_no_engine_can_run_is_not_checked(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = module.Engine("an engine", lambda: NotRun("it is broken"))
    monkeypatch.setattr(module, "engines", lambda artifact: (broken,))
    report = recheck(asked(exported / "shvit_tiny.onnx"))
    assert (report.outcome, report.reason) == ("not checked", "shvit_tiny.onnx: it is broken")


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_what_cannot_be_used_is_said_in_one_line(exported: Path, tmp_path: Path) -> None:
    ours = exported / "shvit_tiny.onnx"
    alone = copied(exported, "shvit_tiny.onnx", tmp_path)
    record = json.loads((exported / "shvit_tiny.report.json").read_text())
    changed = lambda **more: write(tmp_path / "x.json", json.dumps({**record, **more}))  # noqa: E731
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    write(tmp_path / "bad" / "a.png", "not a picture")
    cases: list[tuple[Callable[[], Asked], str]] = [
        (lambda: asked(tmp_path / "no.onnx"), "there is no such file; expected a .onnx file or a .mlpackage folder"),
        (lambda: asked(write(tmp_path / "a.onnx", "nothing")), "cannot be read as ONNX"),
        (
            lambda: asked(write(tmp_path / "a.tflite", "nothing")),
            "expected a .onnx file or a .mlpackage folder, got .tflite",
        ),
        (lambda: asked(write(tmp_path / "a.mlpackage", "nothing")), "a.mlpackage"),
        (lambda: asked(alone), "nothing to check it against: no shvit_tiny.report.json beside it; give --against"),
        (lambda: asked(alone, against="shvit_s9"), "unknown variant 'shvit_s9'"),
        (lambda: asked(alone, against="shvit_s1", source=Source("", image_size=96)), "does not fit the model"),
        (lambda: asked(ours, against=str(write(tmp_path / "x.json", "{"))), "expected an export report in JSON"),
        (lambda: asked(ours, against=str(write(tmp_path / "x.json", "[]"))), "a JSON object; got list"),
        (
            lambda: asked(ours, against=str(changed(schema="fuseport.report/2"))),
            "expected a report of schema fuseport.report/1, got",
        ),
        (lambda: asked(ours, against=str(changed(schema="coco"))), "not an export report"),
        (lambda: asked(ours, against=str(changed(source=3))), "source should be an object"),
        (lambda: asked(ours, against=str(changed(source={"variant": 3}))), "variant should be text, got int"),
        (
            lambda: asked(ours, against=str(changed(source={"variant": "a", "run": "b"}))),
            "source has run, written by a later",
        ),
        (lambda: asked(ours, against=str(tmp_path / "nil.json")), "cannot be read"),
        (lambda: Asked((ours,), checks=Checks(images=tmp_path / "empty")), "no pictures in this folder"),
        (lambda: Asked((ours,), checks=Checks(images=tmp_path / "bad")), "a.png: not a picture"),
        (lambda: asked(ours, inputs=tmp_path / "no.npz"), "there is no such file"),
        (lambda: asked(ours, inputs=write(tmp_path / "x.npz", "zip")), "it is damaged"),
        (
            lambda: asked(ours, inputs=stored(exported, tmp_path, image=np.zeros((2, 3, 9, 9)))),
            "expected (N, 3, 64, 64)",
        ),
        (lambda: asked(ours, input_map={"a": "b"}), "--input-map a=b names no such pair"),
    ]
    for make, told in cases:
        with pytest.raises(ValueError, match=r"^[^\n]+$") as error:
            recheck(make())
        assert told in str(error.value)
        assert type(error.value).__module__.startswith("fuseport"), type(error.value)


def test_weights_outside_the_folder_are_not_reached_for(exported: Path, tmp_path: Path) -> None:
    model = onnx.load(exported / "shvit_tiny.onnx")
    onnx.save(model, tmp_path / "a.onnx", save_as_external_data=True, location="a.data", size_threshold=0)
    assert open_artifact(tmp_path / "a.onnx").details["external_data"] == ["a.data"]
    reaching = onnx.load(tmp_path / "a.onnx", load_external_data=False)
    for tensor in reaching.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../a.data"
    onnx.save(reaching, tmp_path / "b.onnx")
    with pytest.raises(
        ValueError, match=r"its weights are said to be in '\.\./a\.data'; expected a file in the same folder"
    ):
        open_artifact(tmp_path / "b.onnx")
    (tmp_path / "a.data").unlink()
    with pytest.raises(ValueError, match="which is not there"):
        open_artifact(tmp_path / "a.onnx")


def test_stored_inputs_of_a_model_with_several(tmp_path: Path) -> None:
    feed = {"image": np.zeros((1, 3, 4, 4), np.float32), "mask": np.zeros((1, 5), np.int64)}
    images, masks = np.ones((2, 4, 4, 3), np.float32), np.ones((2, 5), np.int32)
    np.savez(tmp_path / "cases.npz", image=images, theirs=masks)
    found = feed_of(read_stored(tmp_path / "cases.npz"), {"x": "image", "theirs": "mask"}, feed)
    assert {name: (values.shape, values.dtype) for name, values in found.items()} == {
        "image": ((2, 3, 4, 4), np.float32),
        "mask": ((2, 5), np.int64),
    }
    with pytest.raises(StoredError, match="expected an array 'mask'; it has image, theirs"):
        feed_of(read_stored(tmp_path / "cases.npz"), {}, feed)
    np.savez(tmp_path / "cases.npz", image=images, mask=masks[:1])
    with pytest.raises(StoredError, match="as many samples of each input, got 2 of image, 1 of mask"):
        feed_of(read_stored(tmp_path / "cases.npz"), {}, feed)
