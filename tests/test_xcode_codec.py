"""The normal form survives its JSON, whole and of every format."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fuseport.validate.xcode.codec import from_dict, to_dict
from fuseport.validate.xcode.report import Operation
from xcode_samples import MAC, PHONE, read


@pytest.mark.parametrize("data", [
    PHONE.read_bytes(),
    MAC.read_bytes(),
    b"Average inference time cost: 3.5 ms\nPeak working set size: 5 bytes\n",
])  # fmt: skip
@pytest.mark.parametrize("keep", [True, False])
def test_there_and_back(data: bytes, keep: bool) -> None:
    report = read(data, keep_identifiers=keep)
    assert from_dict(json.loads(json.dumps(to_dict(report)))) == report


def test_every_field_of_an_operation_survives() -> None:
    report = read(PHONE.read_bytes())
    operation = Operation(
        "", "", ("a", "b"), "f", "c[0]", "ios17", "ane", ("ane", "cpu"), (("gpu", "no"),), 0.0, 0.0, "w"
    )
    changed = type(report)(**vars(report) | {"operations": (operation, Operation("n", "t"))})
    assert from_dict(json.loads(json.dumps(to_dict(changed)))) == changed


@pytest.mark.parametrize("change", [
    {"schema": "fuseport.performance/2"},
    {"operations": [{"name": "x"}]},
    {"operations": [{"name": "x", "type": "y", "later": 1}]},
    {"stages": {"predict": {}}},
    {"model": {}},
    {"device": []},
])  # fmt: skip
def test_another_form_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"fuseport\.performance/1"):
        from_dict(to_dict(read(PHONE.read_bytes())) | change)


def test_what_is_no_form_at_all() -> None:
    with pytest.raises(ValueError, match="expected"):
        from_dict([])  # type: ignore[arg-type]
