"""A short run of the fuzzer; `python tests/mil_fuzz.py --cases 100000` is the long one."""

from __future__ import annotations

from pathlib import Path

import mil_fuzz
import pytest
from fuseport import mil


def test_damaged_packages_work_or_are_refused_in_one_line(tmp_path: Path) -> None:
    assert mil_fuzz.fuzz(300, 0, tmp_path) == []


def test_the_fuzzer_finds_what_it_looks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = mil_fuzz.rich_program().save(tmp_path / "m.mlpackage")

    def broken(path: Path) -> None:
        raise IndexError("list index out of range")

    class Chatty(mil.MilError):
        def __str__(self) -> str:
            return "one\ntwo"

    def chatty(path: Path) -> None:
        raise Chatty("")

    monkeypatch.setattr(mil, "load", broken)
    assert mil_fuzz.trial(path) == "IndexError: list index out of range"
    monkeypatch.setattr(mil, "load", chatty)
    assert "several lines" in (mil_fuzz.trial(path) or "")
