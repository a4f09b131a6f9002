"""The view: everything a page needs, as plain values that JSON takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fuseport.validate.xcode.join import find_export
from fuseport.validate.xcode.manifest import read_records
from fuseport.validate.xcode.view import SCHEMA, view
from xcode_samples import MAC, PERSONAL, PHONE, export_report, read


@pytest.mark.parametrize("path", [PHONE, MAC])
def test_it_is_json_and_whole(path: Path, tmp_path: Path) -> None:
    report = read(path.read_bytes())
    join = find_export(report, read_records([export_report(tmp_path)]))
    value = json.loads(json.dumps(view(report, join, ("a note",)), allow_nan=False))
    assert value["schema"] == SCHEMA
    assert value["notes"] == ["a note"]
    assert value["statistics"]["predict"]["n"] == report.stages["predict"].n
    assert {unit["unit"] for unit in value["placement"]["units"]} == {"ane", "gpu", "cpu"}
    assert len(value["operation_seconds"]) == len(value["operations"]) == len(report.operations)
    assert value["cost"]["by_module"][0]["key"] in {"stem", "blocks.0.dw", "(no module found)"}
    assert value["join"]["match"]["level"] == "exact"
    assert not any(word in json.dumps(value) for word in PERSONAL)


def test_without_join_and_placement() -> None:
    value = view(read(b"Average inference time cost: 3.5 ms\n"))
    assert (value["placement"], value["join"], value["published"], value["iterations"]) == (None, None, None, {})
    assert value["cost"]["by_module"] == []


def test_borders_and_iterations() -> None:
    value = view(read(PHONE.read_bytes()))
    (border,) = value["placement"]["borders"]
    assert (border["before"]["unit"], border["after"]["name"]) == ("ane", "top_values")
    assert len(value["iterations"]["predict"]["medians"]) == 3
