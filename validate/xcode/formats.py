"""The formats that can be imported, and how a file's format is told: by its keys or phrases, never by its name.

A JSON format has `recognises(value)` and `read(value, source)`; a text format `MARKERS` (phrases) and
`read(text, source)`. A new format is one file and one name in a tuple.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from typing import Any

from . import apple, ort_perf, ort_profile, tflite
from .document import ReportError, brief, check_size, clean, parse_json
from .intake import Document
from .report import Report, Source

TEXT_FORMATS = (tflite, ort_perf)
FORMATS = {module.NAME: module.TITLE for module in (apple, ort_profile, *TEXT_FORMATS)}
JSON_MARKERS = (b'"deviceResults"', *ort_profile.MARKERS)
MARKERS = (*JSON_MARKERS, *(marker for module in TEXT_FORMATS for marker in module.MARKERS))
MAX_TEXT_BYTES = 16 * 2**20


def holds_report(data: bytes) -> bool:
    """Whether the bytes have a phrase of a known format: also true of a report that was cut off."""
    return any(marker in data for marker in MARKERS)


def read_report(document: Document, *, keep_identifiers: bool = False) -> Report:
    """The report in the normal form. Raises `ReportError` (one line) for anything else than a known format."""
    check_size(len(document.data), document.label)
    try:
        return _read(document, keep_identifiers)
    except ReportError as error:
        message = str(error)
        raise ReportError(message if message.startswith(document.label) else f"{document.label}: {message}") from None
    except RecursionError:
        raise ReportError(f"{document.label}: nested too deeply to be a report") from None


def _read(document: Document, keep_identifiers: bool) -> Report:
    data = document.data
    source = Source("", clean(document.label), hashlib.sha256(data).hexdigest(), len(data))
    if looks_like_json(data):
        try:
            value = parse_json(data, document.label)
        except ReportError:
            if _text_format(data) is None:  # a log may begin with a bracket, too
                raise
        else:
            return _read_value(value, source, document, keep_identifiers)
    module = _text_format(data)
    if module is None:
        raise ReportError(f"{'no performance report' if data else 'an empty file'}. {_expected()}")
    if len(data) > MAX_TEXT_BYTES:
        raise ReportError(f"{len(data) / 2**20:,.0f} MB of text, at most {MAX_TEXT_BYTES // 2**20} MB are read")
    return module.read(data.decode("utf-8", errors="replace"), replace(source, format=module.NAME))


def _read_value(value: Any, source: Source, document: Document, keep_identifiers: bool) -> Report:
    if ort_profile.recognises(value):
        return ort_profile.read(value, replace(source, format=ort_profile.NAME))
    if not apple.recognises(value):
        raise ReportError(f"JSON, but no performance report (no key deviceResults). {_expected()}")
    versions = {key: brief(value[key]) for key in apple.KNOWN_VERSIONS if key in value}
    source = replace(source, format=apple.NAME, versions=versions)
    report = apple.read(value, source, keep_identifiers=keep_identifiers)
    if not report.stages and not report.operations:
        raise ReportError("an Xcode report without any timing or operation; export it again from Xcode")
    return replace(report, source=replace(source, name=_plain_name(document, report, value)))


def _text_format(data: bytes) -> Any:
    return next((module for module in TEXT_FORMATS if any(marker in data for marker in module.MARKERS)), None)


def looks_like_json(data: bytes) -> bool:
    """Whether the text begins with a bracket (after a byte order mark, or in UTF-16 or UTF-32)."""
    return data[:64].lstrip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n")[:1] in (b"{", b"[")


def _expected() -> str:
    return "Expected " + ", ".join(FORMATS.values())


def _plain_name(document: Document, report: Report, value: dict[str, object]) -> str:
    """The file's name without what points to a person: Xcode names bundles `<model>-<device nickname>.mlperf`."""
    model = report.model.name
    if document.bundle:
        return f"{model or 'report'}.mlperf"
    name = document.label.rpartition("/")[2]
    info = value.get("deviceInfo")
    for private in (info.get(key) for key in apple.PERSONAL) if isinstance(info, dict) else ():
        if isinstance(private, str) and private:
            name = re.sub(re.escape(private), "device", name, flags=re.IGNORECASE)
    if model and name.startswith(f"{model}-"):
        return f"{model}.json"
    return clean(name)
