"""Unmodified coremltools scripts predict inside the context manager, and only there."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuseport import mil
from mil_build import Program, Ref, affine_program
from PIL import Image
from test_mil_values import picture_program

pytestmark = pytest.mark.filterwarnings("ignore:You will not be able to run predict")


@pytest.fixture(scope="module")
def coremltools() -> Any:
    logging.getLogger("coremltools").setLevel(logging.ERROR)
    import coremltools

    return coremltools


def test_predicts_like_the_executor(coremltools: Any, tmp_path: Path) -> None:
    path = affine_program().save(tmp_path / "m.mlpackage")
    x = np.random.default_rng(0).standard_normal((2, 4))
    with mil.drop_in():
        model = coremltools.models.MLModel(str(path))
        found = model.predict({"x": x})["y"]
    np.testing.assert_array_equal(found, mil.load(path).predict({"x": x.astype(np.float32)})["y"])
    np.testing.assert_array_equal(model.predict({"x": x})["y"], found)


def test_batches_and_pictures(coremltools: Any, tmp_path: Path) -> None:
    path = picture_program("RGB", 3).save(tmp_path / "m.mlpackage")
    pictures = [Image.new("RGB", (3, 2), (i, 0, 0)) for i in range(3)]
    with mil.drop_in():
        found = coremltools.models.MLModel(str(path)).predict([{"x": p} for p in pictures])
    assert [int(f["y"][0, 0, 0, 0]) for f in found] == [0, 2, 4]


def test_state(coremltools: Any, tmp_path: Path) -> None:
    program = Program()
    program.input("x", (2,), "fp16")
    program.state("total", (2,))
    program.op("read_state", ("before", (2,), "fp16"), input=Ref("total"))
    program.op("add", ("after", (2,), "fp16"), x=Ref("before"), y=Ref("x"))
    program.op("write_state", [], input=Ref("total"), data=Ref("after"))
    program.output("after", "fp16")
    path = program.save(tmp_path / "m.mlpackage")
    with mil.drop_in():
        model = coremltools.models.MLModel(str(path))
        state = model.make_state()
        model.predict({"x": np.ones(2)}, state=state)
        state.write_state("total", state.read_state("total") * 10)
        np.testing.assert_array_equal(model.predict({"x": np.ones(2)}, state=state)["after"], [11, 11])
        with pytest.raises(RuntimeError, match="unknown state 'sum'; known: total"):
            state.read_state("sum")
        with pytest.raises(RuntimeError, match="has shape"):
            state.write_state("total", np.zeros(3))


def test_errors_are_the_frameworks(coremltools: Any, tmp_path: Path) -> None:
    path = affine_program().save(tmp_path / "m.mlpackage")
    with mil.drop_in():
        model = coremltools.models.MLModel(str(path))
        with pytest.raises(RuntimeError, match=r"Unable to compute the prediction using ML Program: input 'x' expects"):
            model.predict({"x": np.zeros((3, 3))})


def test_outside_nothing_is_changed(coremltools: Any, tmp_path: Path) -> None:
    import coremltools.models.model as module

    before = (module._MLModelProxy, module._is_macos)
    with mil.drop_in():
        assert module._MLModelProxy is not before[0]
    assert (module._MLModelProxy, module._is_macos) == before
