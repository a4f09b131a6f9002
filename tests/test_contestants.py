"""Who takes part, what contestants are fed, and what happens to one that cannot be loaded."""

from pathlib import Path

import numpy as np
import pytest
from fuseport.export.artifact import NotRun, TensorSpec
from fuseport.export.given import given
from fuseport.export.job import Source
from fuseport.export.profile.contestants import Ready, UnknownBackendError, feed, line_up, open_contestant
from profile_samples import small_onnx

SOURCE = Source(variant="")


def test_each_subject_meets_the_engines_that_run_its_kind(tmp_path: Path):
    file = given(str(small_onnx(tmp_path)), SOURCE)
    found = line_up([given("shvit_s1", SOURCE), file, file])
    assert [each.backend.name for each in found] == ["torch", "ort-cpu", "ort-cpu"]
    assert [each.name for each in found] == [
        "shvit_s1, PyTorch eager",
        "small.onnx, ONNX Runtime CPU",
        "small.onnx, ONNX Runtime CPU (2)",
    ]
    named = line_up([given("shvit_s1", SOURCE)], ["torch-folded", "torch"])
    assert [each.backend.name for each in named] == ["torch", "torch-folded"]


def test_a_backend_that_does_not_exist_or_runs_nothing_is_refused():
    with pytest.raises(UnknownBackendError, match=r"unknown backend 'tpu'; known: torch, .*executor-onnx"):
        line_up([given("shvit_s1", SOURCE)], ["tpu"])
    with pytest.raises(UnknownBackendError, match=r"ort-cpu runs \.onnx files, and none was given"):
        line_up([given("shvit_s1", SOURCE)], ["ort-cpu"])


def test_a_contestant_is_opened_with_its_inputs_and_its_load_time(tmp_path: Path):
    (contestant,) = line_up([given(str(small_onnx(tmp_path)), SOURCE)])
    ready = open_contestant(contestant, 1)
    assert isinstance(ready, Ready)
    assert ready.opened.inputs == (TensorSpec("image", ("n", 3, 8, 8), "float32"),)
    assert ready.load_ms > 0


def test_a_file_that_does_not_open_is_told_in_one_line(tmp_path: Path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(small_onnx(tmp_path).read_bytes()[:200])
    found = open_contestant(line_up([given(str(broken), SOURCE)])[0], 1)
    assert isinstance(found, NotRun)
    assert found.reason.startswith("ONNX Runtime cannot open broken.onnx: ")
    assert "\n" not in found.reason
    absent = open_contestant(line_up([given(str(broken), SOURCE)], ["ort-dml"])[0], 1)
    assert isinstance(absent, NotRun)
    assert absent.reason.startswith("this ONNX Runtime has no DmlExecutionProvider; it has ")


def test_the_feed_is_seeded_and_has_the_batch():
    specs = (
        TensorSpec("x", ("batch", 3, 4), "float16"),
        TensorSpec("p", (2, 4, 4, 3), "uint8"),
        TensorSpec("i", (), "int64"),
    )
    first, again, other = feed(specs, 2, 0), feed(specs, 2, 0), feed(specs, 2, 1)
    assert isinstance(first, dict)
    assert isinstance(again, dict)
    assert isinstance(other, dict)
    assert {name: (value.shape, str(value.dtype)) for name, value in first.items()} == {
        "x": ((2, 3, 4), "float16"),
        "p": ((2, 4, 4, 3), "uint8"),
        "i": ((), "int64"),
    }
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["x"], other["x"])
    assert first["p"].max() > 200


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (TensorSpec("x", (1, 3, 4), "float32"), "a batch of 1 alone, not 2; export it with --dynamic-batch"),
        (TensorSpec("x", ("n", 3, "h"), "float32"), "open sizes beside the batch"),
        (TensorSpec("x", ("n",), "string"), "of type string; expected numbers"),
        (TensorSpec("x", ("n",), "seq(tensor(float"), "expected numbers"),
    ],
)
def test_what_cannot_be_fed_is_told(spec: TensorSpec, told: str):
    found = feed((spec,), 2, 0)
    assert isinstance(found, NotRun)
    assert told in found.reason
