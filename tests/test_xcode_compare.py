"""The matrix of a store, and the difference of two reports."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fuseport.validate.xcode.compare import difference, matrix
from fuseport.validate.xcode.report import Operation
from fuseport.validate.xcode.stage import Stage
from fuseport.validate.xcode.store import Row, summary
from xcode_samples import MAC, PHONE, read

REPORT = read(PHONE.read_bytes())


def row(**parts: object) -> Row:
    return summary(REPORT, "2026-01-01")._replace(**parts)  # type: ignore[arg-type]


def test_cells() -> None:
    rows = [
        row(predict_median=1.0),
        row(predict_median=1.5),
        row(predict_median=None),
        row(os="iOS 27"),
        row(device=None, os=None, units=None),
        row(variant="v"),
    ]
    cells = matrix(rows)
    assert [(c.subject, c.device, c.os, c.units, c.reports) for c in cells] == [
        ("tinynet", "iPhone 16 Pro", "iOS 26.5.2", "All", 3),
        ("tinynet", "iPhone 16 Pro", "iOS 27", "All", 1),
        ("tinynet", "unknown", "unknown", "unknown", 1),
        ("v", "iPhone 16 Pro", "iOS 26.5.2", "All", 1),
    ]
    first = cells[0]
    assert (first.newest.predict_median, first.median_of_medians, first.spread) == (1.0, 1.25, pytest.approx(0.5))
    assert cells[1].spread is None
    assert matrix([]) == []


def test_phone_against_mac() -> None:
    found = difference(REPORT, read(MAC.read_bytes()))
    assert [c.split(":")[0] for c in found.cautions] == ["device", "OS", "compute units", "number of predictions"]
    outcomes = {t.metric: t.outcome for t in found.timings}
    assert outcomes["predict.median"] == "slower"
    assert outcomes["load.uncached.median"] == "faster"
    assert outcomes["predict.first"] == "unknown"
    assert {m.kind for m in found.moves} == {"left the Neural Engine"}
    assert len(found.moves) == 13
    assert [op.name for op in found.new] == ["inner_mul_cast_fp16"]
    assert found.gone == ()
    assert found.ane_share == (pytest.approx(0.944205281), 0.0)
    assert found.switches == (1, 0)


def test_a_report_against_itself() -> None:
    found = difference(REPORT, REPORT)
    assert (found.cautions, found.moves, found.new, found.gone) == ((), (), (), ())
    assert {t.outcome for t in found.timings} == {"within noise"}
    assert {t.growth for t in found.timings} == {0.0}


def test_moves_back_and_between_others() -> None:
    def placed(*units: str) -> object:
        operations = tuple(Operation(f"op{i}", "add", unit=unit, weight=1.0) for i, unit in enumerate(units))
        return replace(REPORT, operations=operations)

    found = difference(placed("cpu", "cpu", "ane"), placed("ane", "gpu", "ane"))  # type: ignore[arg-type]
    assert [(m.operation.name, m.kind) for m in found.moves] == [("op0", "came to the Neural Engine"), ("op1", "moved")]


def test_an_operation_of_another_type_is_new() -> None:
    changed = (replace(REPORT.operations[0], type="conv_transpose"), *REPORT.operations[1:])
    found = difference(REPORT, replace(REPORT, operations=changed))
    assert ([op.type for op in found.new], [op.type for op in found.gone]) == (["conv_transpose"], ["conv"])


def test_times_that_only_one_has() -> None:
    stages = {"predict": Stage(stated={"median": 0.5}, count=9)}
    found = difference(REPORT, replace(REPORT, stages=stages))
    timings = {t.metric: t for t in found.timings}
    assert (timings["compile.median"].after, timings["compile.median"].outcome) == (None, "unknown")
    assert timings["predict.median"].outcome == "unknown"
    assert "predict.p999" not in timings
