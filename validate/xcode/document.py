"""Untrusted bytes → checked values: the one place where a foreign file's JSON is decoded and its types are tested.

A performance report comes from a chat, a ticket or a stranger's repository. So a file is bounded before it is decoded
(bytes, and the number of values it can hold), decoding refuses what JSON does not allow (NaN, Infinity), and every
value that becomes a figure goes through one of the readers below, which name the place when they refuse. Texts are
cleaned of control characters: they end up on a terminal.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from ..collector import collector_paused

MAX_BYTES = 128 * 2**20
"""A report of 315 operations takes about 1 MB; the largest language models reach tens of MB."""

MAX_VALUES = 8_000_000
"""Commas and opening brackets in a file. A report has about 22 per KB, so that 128 MB of it stay below 3 million."""

MAX_TEXT = 1024
MAX_SECONDS = 1e7


class ReportError(ValueError):
    """A file that cannot be imported. The message is one line: what was expected, what came, what to do next."""


def parse_json(data: bytes, name: str) -> Any:
    """The value of a JSON document. Raises `ReportError`, naming the file, when it is too large or not JSON."""
    check_size(len(data), name)
    values = data.count(b",") + data.count(b"{") + data.count(b"[")
    if values > MAX_VALUES:
        raise ReportError(f"{name}: holds about {values:,} values, at most {MAX_VALUES:,} are read; not a report")
    try:
        # decoding makes no cycles, and passes over the growing tree would take two thirds of its time
        with collector_paused():
            return json.loads(data, parse_constant=_refuse_constant)
    except RecursionError:
        raise ReportError(f"{name}: nested too deeply to be a report") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ReportError(f"{name}: broken JSON at {place} ({error.msg}); truncated? Export the report again") from None
    except ValueError as error:  # bytes that are not text, integers of thousands of digits, NaN
        raise ReportError(f"{name}: not JSON: {clean(str(error))[:160]}") from None


def check_size(size: int, name: str) -> None:
    """Raises `ReportError` when a file of `size` bytes is over the cap."""
    if size > MAX_BYTES:
        raise ReportError(f"{name}: {size / 2**20:,.0f} MB, at most {MAX_BYTES // 2**20} MB are read; not a report")


def clean(text: str) -> str:
    """The text on one line: control, direction and surrogate characters become U+FFFD, over-long texts are cut."""
    if len(text) > MAX_TEXT:
        text = text[: MAX_TEXT - 1] + "…"
    return text if text.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in text)


def read_dict(value: Any, where: str) -> dict[str, Any]:
    """An object; an absent one (None) is empty."""
    return {} if value is None else value if isinstance(value, dict) else _refuse(where, "an object", value)


def read_list(value: Any, where: str) -> list[Any]:
    """An array; an absent one (None) is empty."""
    return [] if value is None else value if isinstance(value, list) else _refuse(where, "an array", value)


def read_text(value: Any, where: str) -> str:
    """A text, cleaned."""
    return clean(value) if isinstance(value, str) else _refuse(where, "a text", value)


def read_number(value: Any, where: str, *, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number between the bounds; an integer is taken, a bool is not."""
    if type(value) is int or type(value) is float:
        if low <= value <= high and abs(value) < 1e300:
            return float(value)
        return _refuse(where, f"a number from {low:g} to {high:g}", value)
    return _refuse(where, "a number", value)


def read_count(value: Any, where: str) -> int:
    """A whole number from 0 to 2⁶²."""
    if type(value) is int and 0 <= value <= 2**62:
        return value
    return _refuse(where, "a whole number, zero or more", value)


def read_seconds(value: Any, where: str) -> tuple[float, ...]:
    """An array of durations in seconds."""
    samples = read_list(value, where)
    if not all(type(s) is float and 0.0 <= s <= MAX_SECONDS for s in samples):
        return tuple(read_number(s, f"{where}[{i}]", low=0, high=MAX_SECONDS) for i, s in enumerate(samples))
    return tuple(samples)


def brief(value: Any) -> str:
    """A decoded value in a few words, for a message."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "an array"
    return clean(repr(value[:60] if isinstance(value, str) else value)[:60])


def _refuse(where: str, expected: str, value: Any) -> NoReturn:
    kind = "" if isinstance(value, dict | list | None) else f"{type(value).__name__} "
    raise ReportError(f"{where}: expected {expected}, found {kind}{brief(value)}")


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")
