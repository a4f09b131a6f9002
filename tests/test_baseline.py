"""A baseline is read back as it was written, is the same text every time, and is refused in one line when it is not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fuseport.export.recheck.baseline import (
    SCHEMA,
    Accepted,
    Baseline,
    BaselineError,
    Entry,
    Figures,
    as_text,
    read_baseline,
)

ENTRY = Entry(
    against="shvit_s4, weights: random",
    bytes=123,
    checks={"ONNX Runtime, CPU": {"logits": Figures(2e-07, 1e-05, "is within")}},
    operations={"Conv": 3, "Add": 1},
    precision="float32",
    sha256="ab" * 32,
    tensors={"image": "float32 (1, 3, 64, 64)"},
    tolerance=Accepted(0.0, 0.01, "4-bit weights"),
)


def test_a_baseline_is_read_as_it_was_written(tmp_path: Path) -> None:
    known = Baseline(tmp_path / "b.json", {"z.onnx": replace(ENTRY, tolerance=None), "a.onnx": ENTRY})
    known.path.write_text(as_text(known), encoding="utf-8")
    again = read_baseline(known.path)
    assert again == known
    assert as_text(again) == as_text(replace(known, entries=dict(reversed(known.entries.items()))))
    lines = as_text(known).splitlines()
    assert lines.index('  "a.onnx": {') < lines.index('  "z.onnx": {')
    assert all(line.count('": ') <= 1 for line in lines)


def test_names_are_relative_to_the_baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = Baseline(Path("ci/b.json"))
    monkeypatch.chdir(tmp_path)
    assert known.name_of(Path("build/a.onnx")) == known.name_of(tmp_path / "build" / "a.onnx") == "../build/a.onnx"


def record(**changed: object) -> str:
    entry = json.loads(as_text(Baseline(Path(), {"a.onnx": ENTRY})))["artifacts"]["a.onnx"]
    return json.dumps({"schema": SCHEMA, "artifacts": {"a.onnx": entry | changed}})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "got no JSON (line 1); restore it, or delete it"),
        ("[" * 100_000, "got no JSON"),
        ("[]", "a JSON object; got list"),
        (
            '{\n<<<<<<< HEAD\n"a": 1\n=======\n"a": 2\n>>>>>>> main\n}',
            "has a merge conflict at line 2; take either side",
        ),
        ('{"schema": "fuseport.baseline/2"}', "expected a baseline of schema fuseport.baseline/1, got 'fuseport.base"),
        ('{"schema": "fuseport.baseline/1"}', "artifacts should be an object, got NoneType"),
        (record(bytes="7"), "a.onnx: bytes should be a whole number, got str"),
        (record(sha256=None), "a.onnx: sha256 should be text"),
        (record(operations={"Conv": True}), "Conv should be a whole number, got bool"),
        (record(checks={"CPU": 1}), "a.onnx: expected an object, got int"),
        (record(checks={"CPU": {"logits": {"error": float("nan"), "reason": ""}}}), "error should be a finite number"),
        (record(tolerance={"atol": -1, "rtol": 0, "reason": "x"}), "atol should be a finite number of 0 or more"),
        (record(tolerance={"atol": 1, "rtol": 0, "reason": " "}), "a tolerance of your own needs its reason"),
        (record().replace('"a.onnx"', '"/etc/a.onnx"'), "expected a path relative to the baseline"),
    ],
)
def test_what_is_no_baseline_is_refused_in_one_line(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text(text, encoding="utf-8")
    with pytest.raises(BaselineError, match=r"^[^\n]*b\.json: [^\n]+$") as error:
        read_baseline(tmp_path / "b.json")
    assert told in str(error.value)


def test_a_missing_and_an_unreadable_baseline(tmp_path: Path) -> None:
    with pytest.raises(BaselineError, match="there is no such baseline; --update-baseline makes it"):
        read_baseline(tmp_path / "b.json")
    (tmp_path / "b.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BaselineError, match="cannot be read as text"):
        read_baseline(tmp_path / "b.json")
