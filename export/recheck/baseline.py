"""A baseline: what each file was when its team accepted it, committed beside the code.

    {"schema": "fuseport.baseline/1", "artifacts": {"build/shvit_s4.onnx": {"sha256": …, "operations": …, "checks": …}}}

Names are relative to the folder of the baseline. The text is made to be reviewed and merged: one value a line, keys in
order, errors in two digits, nothing that depends on the day or the machine. `drift.py` says what has changed since.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

SCHEMA = "fuseport.baseline/1"
NAME = "fuseport.baseline.json"
MOST_BYTES = 2**24

CONFLICT = ("<<<<<<< ", "=======", ">>>>>>> ", "||||||| ")
"""How the lines begin that git leaves where it could not merge."""


class BaselineError(ValueError):
    """A baseline that cannot be used; the message is one line that names it and the next step."""


@dataclass(frozen=True)
class Figures:
    """How far one output was from the model's, and what was allowed: relative L2 errors, None where there is none."""

    error: float | None
    bound: float | None
    reason: str
    """The verdict in words, which say where the bound came from."""


@dataclass(frozen=True)
class Accepted:
    """A tolerance of the team's own in place of the measured bound, and why it is right."""

    atol: float
    rtol: float
    reason: str


@dataclass(frozen=True)
class Entry:
    """One accepted file. `against` says which model with which weights; `tensors` is name → "float32 (1, 3, 224, 224)";
    `checks` is engine → output → figures, of the engines that could judge it."""

    against: str
    bytes: int
    checks: dict[str, dict[str, Figures]]
    operations: dict[str, int]
    precision: str
    sha256: str
    tensors: dict[str, str]
    tolerance: Accepted | None = None


@dataclass(frozen=True)
class Baseline:
    """The accepted files by name."""

    path: Path
    entries: dict[str, Entry] = field(default_factory=dict)

    def name_of(self, artifact: Path) -> str:
        """The name under which a file is kept."""
        return Path(os.path.relpath(artifact.absolute(), self.path.parent.absolute())).as_posix()

    def path_of(self, name: str) -> Path:
        """Where a kept file lies."""
        return self.path.parent / name


def as_text(baseline: Baseline) -> str:
    """The baseline as it is committed."""
    entries = {name: asdict(entry) for name, entry in baseline.entries.items()}
    return (
        json.dumps(
            {"schema": SCHEMA, "artifacts": entries}, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False
        )
        + "\n"
    )


def read_baseline(path: Path) -> Baseline:
    """The baseline at `path`. Raises BaselineError with one line for anything else."""
    record = _json(path)
    schema = record.get("schema")
    if schema != SCHEMA:
        raise BaselineError(
            f"{path}: expected a baseline of schema {SCHEMA}, got {schema!r}; "
            "use the fuseport that wrote it, or make a new one with --update-baseline"
        )
    entries = record.get("artifacts")
    if not isinstance(entries, dict):
        raise BaselineError(f"{path}: artifacts should be an object, got {type(entries).__name__}")
    return Baseline(path, {str(name): _entry(entry, str(name), path) for name, entry in entries.items()})


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BaselineError(f"{path}: {path.stat().st_size:,} bytes; a baseline has less than {MOST_BYTES:,}")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise BaselineError(f"{path}: there is no such baseline; --update-baseline makes it") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BaselineError(
            f"{path}: cannot be read as text: {getattr(error, 'strerror', None) or 'no UTF-8'}"
        ) from error
    marked = [number for number, line in enumerate(text.splitlines(), 1) if line.startswith(CONFLICT)]
    if marked:
        raise BaselineError(
            f"{path}: has a merge conflict at line {marked[0]}; take either side with git, then --update-baseline"
        )
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise BaselineError(
            f"{path}: expected a baseline in JSON, got no JSON{where}; restore it, or delete it and --update-baseline"
        ) from error
    if not isinstance(record, dict):
        raise BaselineError(f"{path}: expected a baseline, a JSON object; got {type(record).__name__}")
    return record


def _entry(record: Any, name: str, path: Path) -> Entry:
    where = f"{path}: {name}"
    if Path(name).is_absolute():
        raise BaselineError(f"{where}: expected a path relative to the baseline")
    told = _object(record, where)
    limit = told.get("tolerance")
    return Entry(
        against=_value(told, "against", str, where),
        bytes=_value(told, "bytes", int, where),
        checks={
            engine: {
                output: _figures(one, f"{where}: {engine}: {output}") for output, one in _object(outputs, where).items()
            }
            for engine, outputs in _value(told, "checks", dict, where).items()
        },
        operations={
            kind: _value({kind: count}, kind, int, where)
            for kind, count in _value(told, "operations", dict, where).items()
        },
        precision=_value(told, "precision", str, where),
        sha256=_value(told, "sha256", str, where),
        tensors={
            tensor: _value({tensor: spec}, tensor, str, where)
            for tensor, spec in _value(told, "tensors", dict, where).items()
        },
        tolerance=None if limit is None else _accepted(limit, f"{where}: tolerance"),
    )


def _figures(record: Any, where: str) -> Figures:
    told = _object(record, where)
    error, bound = (None if told.get(key) is None else _number(told, key, where) for key in ("error", "bound"))
    return Figures(error, bound, _value(told, "reason", str, where))


def _accepted(record: Any, where: str) -> Accepted:
    told = _object(record, where)
    own = Accepted(_number(told, "atol", where), _number(told, "rtol", where), _value(told, "reason", str, where))
    if not own.reason.strip():
        raise BaselineError(f"{where}: a tolerance of your own needs its reason, which is empty")
    return own


def _object(record: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(record, dict):
        raise BaselineError(f"{where}: expected an object, got {type(record).__name__}")
    return record


def _number(record: Mapping[str, Any], key: str, where: str) -> float:
    value = float(_value(record, key, (int, float), where))
    if not 0 <= value < math.inf:
        raise BaselineError(f"{where}: {key} should be a finite number of 0 or more, got {value}")
    return value


def _value(record: Mapping[str, Any], key: str, kind: type | tuple[type, ...], where: str) -> Any:
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, kind):
        wanted = {str: "text", int: "a whole number", dict: "an object"}.get(kind, "a number")  # pyright: ignore
        raise BaselineError(f"{where}: {key} should be {wanted}, got {type(value).__name__}")
    return value
