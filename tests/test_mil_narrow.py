"""A float32 package with chosen operations in float16 computes what a package converted that way computes."""

from __future__ import annotations

from pathlib import Path

import mil_networks
import numpy as np
import pytest
from fuseport import mil
from fuseport.mil.narrow import Narrowing, _constant
from mil_build import Program, Ref
from torch import tensor

X = {"x0": mil_networks.inputs(1).numpy()}


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> mil.Model:
    path = tmp_path_factory.mktemp("narrow") / "wide.mlpackage"
    return mil.load(mil_networks.convert(mil_networks.Mixed(), (mil_networks.inputs(1),), path))


def names(model: mil.Model) -> list[str]:
    return [operation.name for operation in model.function.block.operations if operation.type != "const"]


def only(found: dict[str, np.ndarray]) -> np.ndarray:
    (value,) = found.values()
    return value.astype(np.float64)


def test_nothing_narrow_is_the_package_itself(wide: mil.Model) -> None:
    assert np.array_equal(only(Narrowing(wide).predict(X, ())), only(wide.predict(X)))


def test_everything_narrow_is_a_float16_package(wide: mil.Model, tmp_path: Path) -> None:
    path = mil_networks.convert(
        mil_networks.Mixed(), (mil_networks.inputs(1),), tmp_path / "half.mlpackage", precision="float16"
    )
    expected, exact = only(mil.load(path).predict(X)), only(wide.predict(X))
    found = only(Narrowing(wide).predict(X, names(wide)))
    assert np.abs(found - exact).max() > 1e-4  # it has rounded
    assert np.abs(found - expected).max() < 0.3 * np.abs(expected - exact).max()


def test_runs_do_not_touch_each_other(wide: mil.Model) -> None:
    narrowing = Narrowing(wide)
    before = only(narrowing.predict(X, ()))
    first = only(narrowing.predict(X, names(wide)[:3]))
    assert not np.array_equal(first, before)
    assert np.array_equal(only(narrowing.predict(X, ())), before)


def test_constants_are_stored_as_float16_holds_them() -> None:
    found = _constant(tensor([-3.4e38, float("-inf"), 1e-12, -1e-12, 0.0, 0.1])).tolist()
    assert found == [-65504.0, float("-inf"), 2**-24, -(2**-24), 0.0, float(np.float16(0.1))]
    assert _constant(1e-12) == 2**-24
    assert _constant(7) == 7


def test_the_overflow_of_a_cast_between_wide_and_narrow(tmp_path: Path) -> None:
    program = Program()
    program.input("x", (4,))
    program.op("mul", ("square", (4,), "fp32"), x=Ref("x"), y=Ref("x"))
    program.op("reduce_sum", ("sum", (), "fp32"), x=Ref("square"), axes=np.array([0], np.int32), keep_dims=False)
    program.op("sqrt", ("norm", (), "fp32"), x=Ref("sum"))
    program.output("norm")
    narrowing, given = (
        Narrowing(mil.load(program.save(tmp_path / "norm.mlpackage"))),
        {"x": np.full(4, 300, np.float32)},
    )
    assert only(narrowing.predict(given, ("square",)))[()] == np.inf
    assert only(narrowing.predict(given, ("norm",)))[()] == np.inf  # it reads 360,000
    assert only(narrowing.predict(given, ()))[()] == 600
