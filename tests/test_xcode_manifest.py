"""What is read of an export report, and that nothing of it is required."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fuseport.validate.xcode import ReportError
from fuseport.validate.xcode.manifest import ExportRecord, read_records
from xcode_samples import MODULES, export_report


def written(folder: Path, value: Any, name: str = "net.report.json") -> Path:
    path = folder / name
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def results(*artifacts: Any) -> list[dict[str, Any]]:
    """Artifacts as they lie in a report."""
    return [{"artifact": artifact} for artifact in artifacts]


def test_an_export_report(tmp_path: Path) -> None:
    (record,) = read_records([export_report(tmp_path)])
    assert (record.export_id, record.variant, record.name, record.bytes) == ("demo-0001", "tinynet", "tinynet", 16126)
    assert record.modules == MODULES
    assert record.operations["conv"] == 5
    assert record.source == "tinynet.report.json"


def test_several_artifacts_and_a_folder(tmp_path: Path) -> None:
    written(tmp_path, {"variant": "v", "results": results({"export_id": "a"}, {"export_id": "b", "variant": "w"})})
    written(tmp_path, {"results": results({"export_id": "c", "modules": {}})}, "other.report.json")
    records = read_records([tmp_path])
    assert [(r.export_id, r.variant) for r in records] == [("a", "v"), ("b", "w"), ("c", None)]


def test_everything_may_be_absent(tmp_path: Path) -> None:
    assert read_records([written(tmp_path, {"results": results({})})]) == [ExportRecord("net.report.json")]


def test_the_name_is_the_files_without_its_folder(tmp_path: Path) -> None:
    path = written(tmp_path, {"results": results({"path": "C:\\out\\net.mlpackage"}, {"path": "/Users/x/net.v2.onnx"})})
    assert [record.name for record in read_records([path])] == ["net", "net.v2"]


@pytest.mark.parametrize(("value", "message"), [
    ("{", "broken JSON"),
    ([], "net.report.json: expected an object, found an array"),
    ({"results": {}}, "results: expected an array, found an object"),
    ({"results": [1]}, "results: expected an object, found int 1"),
    ({"results": results({"modules": ["a"]})}, "modules: expected an object"),
    ({"results": results({"modules": {"a": 1}})}, "modules: expected a text"),
    ({"results": results({"operations": {"conv": "five"}})}, "operations: expected a whole number"),
    ({"results": results({"bytes": -1})}, "bytes: expected a whole number"),
    ({"results": results({"export_id": 1})}, "export_id: expected a text"),
    ({"variant": [], "results": results({})}, "variant: expected a text"),
    ({"model": "net"}, "expected an export report with results, found none"),
])  # fmt: skip
def test_wrong_reports_are_refused(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(ReportError) as caught:
        read_records([written(tmp_path, value)])
    assert message in str(caught.value)


def test_a_folder_without_reports_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"no \*\.report\.json in the folder"):
        read_records([tmp_path])
    with pytest.raises(ReportError, match="cannot be read"):
        read_records([tmp_path / "none.report.json"])
