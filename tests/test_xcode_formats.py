"""How a file's format is told: by its keys and phrases, never by its name."""

from __future__ import annotations

import json

import pytest
from fuseport.validate.xcode import FORMATS, Document, ReportError, read_report
from xcode_samples import MAC, PERSONAL, PHONE, phone, read

TFLITE = b"[INFO] a log that begins with a bracket\nInference timings in us: Init: 5, Inference (avg): 80.5\n"


def test_each_format_by_its_content() -> None:
    ort_perf = b"Average inference time cost: 3.5 ms\n"
    profile = [{"cat": "Session", "name": "model_run", "dur": 5, "ts": 1}]
    formats = [read(data, "anything.bin").source.format for data in (PHONE.read_bytes(), TFLITE, ort_perf, profile)]
    assert formats == ["xcode", "tflite", "ort-perf", "ort-profile"]
    assert set(formats) == set(FORMATS)


@pytest.mark.parametrize(("data", "message"), [
    (b"", "an empty file. Expected Xcode Core ML performance report"),
    (b"hello", "no performance report. Expected"),
    (b"{}", "JSON, but no performance report (no key deviceResults)"),
    (b"[]", "JSON, but no performance report"),
    (b'"text"', "no performance report"),
    (b'{"deviceResults": {}}', "JSON, but no performance report"),
    (b"\x00\x01\x02", "no performance report"),
])  # fmt: skip
def test_everything_else_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ReportError) as caught:
        read(data, "x")
    assert str(caught.value).startswith(f"x: {message}")


def test_long_texts_are_refused() -> None:
    with pytest.raises(ReportError, match=r"17 MB of text, at most 16 MB"):
        read(TFLITE[1:] + b" " * 17 * 2**20)


def test_a_truncated_report() -> None:
    with pytest.raises(ReportError, match=r"broken JSON at line \d+, column \d+ .*truncated"):
        read(PHONE.read_bytes()[:50_000])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_other_encodings(encoding: str) -> None:
    data = PHONE.read_text(encoding="utf-8").encode(encoding)
    assert read(data).operations == read(PHONE.read_bytes()).operations


@pytest.mark.parametrize(("label", "bundle", "name"), [
    ("tinynet-….mlperf/report.json", True, "tinynet.mlperf"),
    ("tinynet-Demo Phone.json", False, "tinynet.json"),
    ("results of demo phone.json", False, "results of device.json"),
    ("from SYNTHETIC01.json", False, "from device.json"),
    ("plain.json", False, "plain.json"),
])  # fmt: skip
def test_names_are_cleared_of_identifiers(label: str, bundle: bool, name: str) -> None:
    report = read_report(Document(PHONE.read_bytes(), label, bundle))
    assert report.source.name == name


def test_nothing_personal_is_left_in_the_normal_form() -> None:
    text = repr(read(PHONE.read_bytes(), "tinynet-Demo Phone.json"))
    assert not any(word.lower() in text.lower() for word in PERSONAL)


def test_the_hash_is_that_of_the_bytes() -> None:
    one, other = read(PHONE.read_bytes()), read(MAC.read_bytes())
    assert one.source.sha256 != other.source.sha256
    assert one.source.sha256 == read(PHONE.read_bytes(), "other name").source.sha256
    assert one.source.bytes == PHONE.stat().st_size


def test_deep_values_in_places_that_are_shown() -> None:
    deep: object = []
    for _ in range(400):
        deep = [deep]
    report = read(json.dumps(phone() | {"jsonVersion": deep, "computeUnit": deep}).encode())
    assert report.config.units == "unknown (an array)"
