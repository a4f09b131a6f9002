"""The text of a report without what names a person, a device or a home folder, fit to be shared.

The text is edited string by string and not printed anew, so that every figure and the layout stay byte for byte and
the copy opens wherever the original did. Replaced are the values of the personal keys wherever those occur; their
values wherever else they are quoted (a nickname not where it is also a name inside the program, and not where it is
just the device's model name); and paths below a home, volume or temporary folder. All of that also holds inside texts
that are JSON themselves, as `rawMetadata` is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from . import apple
from .document import ReportError, parse_json

PLACEHOLDERS = {
    "serialNumber": "[redacted-serial]",
    "deviceID": "[redacted-device-id]",
    "displayName": "[redacted-device-name]",
    "modelUrl": "file:///[redacted-path]",
}
_EVERYDAY = ("modelName", "deviceType", "osNameAndVersionWithoutBuildNumber", "capacity")
_TOKEN = re.compile(rb'"((?:[^"\\]++|\\.)*+)"(\s*+:)?', re.DOTALL)
_PATH = re.compile(
    r"(?:file:|\b[A-Za-z]:)?"
    r"(?:(?<![\\/])[\\/]++Users[\\/]|(?<![\w.\\/-])[\\/]++(?:home|root|Volumes|private|tmp|var)[\\/])"
    r"[^\"'\n\r<>|]*",
    re.IGNORECASE,
)
"""Possessive and anchored at the first slash: a text of a million slashes takes no longer than it should."""


@dataclass(frozen=True)
class Redacted:
    """The redacted text, how many strings changed, the model's file name, and what else to clear of the same values."""

    text: bytes
    changes: int
    model: str
    redactor: Redactor


def redact(data: bytes, name: str) -> Redacted:
    """The redacted copy of a report's text. Raises `ReportError` unless it is a report that can be redacted."""
    document = parse_json(data, name)
    if not apple.recognises(document):
        raise ReportError(f"{name}: only Xcode performance reports are redacted; this file is none")
    try:
        text = data.decode("utf-8-sig").encode()
    except UnicodeDecodeError:
        raise ReportError(f"{name}: expected UTF-8; save the report in that encoding first") from None
    try:
        redactor = Redactor(document)
        redacted, changes = redactor.edit(text)
        if _skeleton(document) != _skeleton(parse_json(redacted, name)):
            raise ReportError(f"{name}: redacting would change more than texts; not redacted")
    except RecursionError:
        raise ReportError(f"{name}: nested too deeply to be redacted") from None
    return Redacted(redacted, changes, redactor.name(_model_name(document)), redactor)


class Redactor:
    """What to replace in one document: found first, then applied to its text, or to a file's name."""

    def __init__(self, document: dict[str, Any]) -> None:
        values = _personal_values(document)
        info = document.get("deviceInfo")
        everyday = str([info.get(key) for key in _EVERYDAY] if isinstance(info, dict) else "").lower()
        secrets = {value: key for key in ("serialNumber", "deviceID") for value in values[key] if len(value) >= 6}
        nicknames = {value: "displayName" for value in values["displayName"] if value.lower() not in everyday}
        results = document.get("deviceResults")
        self._placeholders = {value.lower(): PLACEHOLDERS[key] for value, key in (nicknames | secrets).items()}
        self._secrets = _any_of(secrets)
        self._nicknames = _any_of({value for value in nicknames if len(value) >= 2})
        self._program = set(_strings(results.get("modelStructure") if isinstance(results, dict) else None))
        self._known: dict[tuple[str, str, bool], str] = {}

    def edit(self, text: bytes) -> tuple[bytes, int]:
        """(the JSON text with every string redacted, how many changed). A key decides over the string after it."""
        parts: list[bytes] = []
        end, changes, key = 0, 0, ""
        for match in _TOKEN.finditer(text):
            token, is_key = match.group(1), match.group(2) is not None
            string = json.loads(b'"%b"' % token) if b"\\" in token else token.decode("utf-8", "surrogatepass")
            new = self._redacted(string, "" if is_key else key, is_key)
            key = string if is_key else ""
            if new != string:
                parts += (text[end : match.start(1)], _encode(new))
                end, changes = match.end(1), changes + 1
        return b"".join((*parts, text[end:])), changes

    def name(self, text: str) -> str:
        """A file or folder name without the personal values of the document."""
        return self._plain(text, False)

    def _redacted(self, text: str, key: str, is_key: bool) -> str:
        seen = (text, key if key in PLACEHOLDERS else "", is_key)
        if seen not in self._known:
            self._known[seen] = self._replaced(text, key, is_key)
        return self._known[seen]

    def _replaced(self, text: str, key: str, is_key: bool) -> str:
        if key in PLACEHOLDERS:
            return self._placeholder(text, key)
        if _json_value(text) is not None:
            edited, changes = self.edit(text.encode("utf-8", "surrogatepass"))
            return edited.decode("utf-8", "surrogatepass") if changes else text
        return self._plain(text, is_key or text in self._program)

    def _plain(self, text: str, keep_nickname: bool) -> str:
        patterns = (self._secrets,) if keep_nickname else (self._secrets, self._nicknames)
        for pattern in patterns:
            if pattern:
                text = pattern.sub(lambda match: self._placeholders.get(match.group().lower(), "[redacted]"), text)
        return _PATH.sub("[redacted-path]", text)

    def _placeholder(self, text: str, key: str) -> str:
        """Of a model's URL the file name stays, unless it is personal itself; what was redacted before stays so."""
        name = re.split(r"[\\/]", text.rstrip("\\/"))[-1]
        if not text or text.startswith("[redacted"):
            return text
        if key != "modelUrl" or "%" in name or self._plain(name, False) != name:
            return PLACEHOLDERS[key]
        return f"{PLACEHOLDERS[key]}/{name}"


def _personal_values(document: Any) -> dict[str, set[str]]:
    """The values of the personal keys wherever they occur, also inside texts that are JSON."""
    found: dict[str, set[str]] = {key: set() for key in PLACEHOLDERS}
    stack = [document]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            for key in PLACEHOLDERS.keys() & value.keys():
                if not isinstance(value[key], str | None):
                    raise ReportError(f"{key}: expected a text, found {type(value[key]).__name__}; cannot be redacted")
                found[key] |= {value[key]} - {None, ""}
            stack += value.values()
        elif isinstance(value, list):
            stack += value
        elif isinstance(value, str):
            stack.append(_json_value(value))
    return found


def _model_name(document: dict[str, Any]) -> str:
    metadata = document.get("modelMetadata")
    name = metadata.get("fileName") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""


def _strings(document: Any) -> Iterator[str]:
    stack = [document]
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            stack += value.values()
        elif isinstance(value, list):
            stack += value


def _json_value(text: str) -> Any:
    """The object or array that a text holds as JSON; None for any other text."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _any_of(values: Iterable[str]) -> re.Pattern[str] | None:
    ordered = sorted(values, key=len, reverse=True)
    return re.compile("|".join(re.escape(value) for value in ordered), re.IGNORECASE) if ordered else None


def _encode(text: str) -> bytes:
    """A string as Xcode prints it between the quotes: slashes escaped, other scripts not."""
    printed = json.dumps(text, ensure_ascii=False)[1:-1].replace("/", "\\/")
    return printed.encode("utf-8", "backslashreplace")


def _skeleton(value: Any) -> Any:
    """The value with every text and key left out: what redaction may not change."""
    if isinstance(value, dict):
        return [_skeleton(inner) for inner in value.values()]
    if isinstance(value, list):
        return [_skeleton(inner) for inner in value]
    return "" if isinstance(value, str) else value
