"""Estimated times: they add up to the prediction, they say what they are, and measured times come first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fuseport.validate.xcode.estimate import (
    ESTIMATED,
    MEASURED,
    UNMATCHED,
    by_module,
    by_operation,
    by_type,
    method,
    operation_seconds,
)
from fuseport.validate.xcode.join import find_export
from fuseport.validate.xcode.manifest import read_records
from fuseport.validate.xcode.report import Report
from fuseport.validate.xcode.stage import statistic
from fuseport.validate.xcode.view import modules_of
from xcode_samples import MAC, PHONE, export_report, phone, read


@pytest.mark.parametrize("path", [PHONE, MAC])
def test_the_rows_add_up_to_the_median(path: Path, tmp_path: Path) -> None:
    report = read(path.read_bytes())
    join = find_export(report, read_records([export_report(tmp_path)]))
    median = statistic(report.stages["predict"], "median")
    for rows in (by_operation(report), by_type(report), modules_of(report, join)):
        assert sum(row.seconds or 0 for row in rows) == pytest.approx(median)
        assert sum(row.share or 0 for row in rows) == pytest.approx(1)
        assert sum(row.operations for row in rows) == len(report.operations)
        assert [row.share for row in rows] == sorted((row.share for row in rows), reverse=True, key=lambda s: s or 0)
    assert method(report) == ESTIMATED
    assert "not a share of the time" in ESTIMATED


def test_modules_of_the_sample(tmp_path: Path) -> None:
    report = read(PHONE.read_bytes())
    join = find_export(report, read_records([export_report(tmp_path)]))
    rows = {row.key: row for row in modules_of(report, join)}
    assert (rows["stem"].seconds or 0) * 1e6 == pytest.approx(75.096, abs=1e-3)
    assert rows["(root)"].operations == 4
    shallow = {row.key: row for row in modules_of(report, join, depth=1)}
    assert shallow["blocks"].operations == 8
    assert modules_of(report, None) == []


def test_operations_without_a_module_are_a_row(tmp_path: Path) -> None:
    report = read(PHONE.read_bytes())
    rows = by_module(report, (None,) * 14 + ("head",))
    assert {row.key: row.operations for row in rows} == {UNMATCHED: 14, "head": 1}


def without(report: Report, stage: str) -> Report:
    return replace(report, stages={name: s for name, s in report.stages.items() if name != stage})


def test_no_prediction_no_times() -> None:
    report = without(read(PHONE.read_bytes()), "predict")
    assert set(operation_seconds(report)) == {None}
    assert all(row.seconds is None and row.share is not None for row in by_type(report))


def test_no_weight_no_share() -> None:
    document = phone()
    for operation in document["deviceResults"]["modelStructure"]["program"]["_0"]["functions"]["main"]["block"][
        "operations"
    ]:
        operation.pop("cost", None)
    report = read(document)
    assert all(row.seconds is None and row.share is None for row in by_type(report))


def test_measured_times_are_taken_as_they_are() -> None:
    report = read([
        {"cat": "Session", "name": "model_run", "dur": 100, "ts": 1},
        {"cat": "Node", "name": "a_kernel_time", "dur": 30, "ts": 1, "args": {"op_name": "Conv"}},
        {"cat": "Node", "name": "b_kernel_time", "dur": 10, "ts": 1, "args": {"op_name": "Relu"}},
    ])  # fmt: skip
    assert method(report) == MEASURED
    assert [(row.key, row.share, row.seconds) for row in by_type(report)] == [
        ("Conv", 0.75, 30e-6),
        ("Relu", 0.25, 10e-6),
    ]
