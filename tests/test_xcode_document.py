"""Foreign bytes: what is refused, with which words, and that the limits hold."""

from __future__ import annotations

import gc

import pytest
from fuseport.validate.xcode import document
from fuseport.validate.xcode.document import (
    ReportError,
    brief,
    clean,
    parse_json,
    read_count,
    read_number,
    read_seconds,
)


@pytest.mark.parametrize(("data", "message"), [
    (b'{"a": 1', "broken JSON at line 1, column 8"),
    (b"", "broken JSON at line 1, column 1"),
    (b'{"a": NaN}', "NaN is no JSON number"),
    (b'{"a": -Infinity}', "-Infinity is no JSON number"),
    (b"[" * 100_000, "nested too deeply"),
    (b'{"a":' * 100_000, "nested too deeply"),
    (b'{"a": ' + b"9" * 5000 + b"}", "not JSON"),
    (b'{"a": "\xff"}', "not JSON"),
])  # fmt: skip
def test_what_is_no_json(data: bytes, message: str) -> None:
    with pytest.raises(ReportError) as caught:
        parse_json(data, "x.json")
    assert str(caught.value).startswith("x.json: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_too_many_values_are_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "MAX_VALUES", 10)
    with pytest.raises(ReportError, match="holds about 12 values, at most 10"):
        parse_json(b"[1,2,3,4,5,6,7,8,9,10,11,12]", "x.json")


def test_too_many_bytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "MAX_BYTES", 2**20)
    with pytest.raises(ReportError, match="3 MB, at most 1 MB"):
        parse_json(b" " * 3 * 2**20, "x.json")


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_left_as_it_was(enabled: bool) -> None:
    before = gc.isenabled()
    try:
        gc.enable() if enabled else gc.disable()
        with pytest.raises(ReportError):
            parse_json(b"{", "x.json")
        assert gc.isenabled() == enabled
    finally:
        gc.enable() if before else gc.disable()


def test_other_encodings_are_read() -> None:
    text = '{"×": 1}'
    assert parse_json(b"\xef\xbb\xbf" + text.encode(), "x") == parse_json(text.encode("utf-16"), "x") == {"×": 1}


@pytest.mark.parametrize("value", [True, "1", None, [], float("inf"), 10**400, -1])
def test_no_number_from_zero(value: object) -> None:
    with pytest.raises(ReportError, match="here: expected a number"):
        read_number(value, "here", low=0)


@pytest.mark.parametrize("value", [True, 1.0, -1, 2**63])
def test_no_count(value: object) -> None:
    with pytest.raises(ReportError, match="here: expected a whole number"):
        read_count(value, "here")


def test_seconds_take_whole_numbers_too() -> None:
    assert read_seconds([1, 0.5, 0], "here") == (1.0, 0.5, 0.0)
    assert read_seconds(None, "here") == ()


def test_clean_texts_stay() -> None:
    assert clean("MultiArray (Float32 1 × 3) 日本") == "MultiArray (Float32 1 × 3) 日本"
    assert clean("a" * 5000) == "a" * 1023 + "…"
    assert clean("a\tb\u2028c") == "a\ufffdb\ufffdc"


def test_brief_is_brief() -> None:
    assert brief({"a": 1}) == "an object"
    assert brief(["a"]) == "an array"
    assert len(brief("x" * 10**6)) <= 60
