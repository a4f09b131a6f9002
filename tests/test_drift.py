"""What counts as a drift from a baseline, how it is told, and what an update leaves as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fuseport.export.recheck.baseline import Accepted, Baseline, Entry, Figures
from fuseport.export.recheck.drift import drift, updated
from test_baseline import ENTRY

CPU = "ONNX Runtime, CPU"


def with_error(error: float | None, bound: float | None = 1e-5) -> Entry:
    return replace(ENTRY, checks={CPU: {"logits": Figures(error, bound, "")}})


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (replace(ENTRY, sha256="cd" * 32), "sha256 abababababab… → cdcdcdcdcdcd…"),
        (replace(ENTRY, sha256="ab" * 31 + "cd"), "sha256"),
        (replace(ENTRY, bytes=124), "size 123 bytes → 124 bytes"),
        (replace(ENTRY, operations={"Conv": 4}), "operator Add 1 → none; operator Conv 3 → 4"),
        (replace(ENTRY, precision="float16"), "precision float32 → float16"),
        (
            replace(ENTRY, tensors={"image": "float32 (1, 3, 96, 96)"}),
            "tensor image float32 (1, 3, 64, 64) → float32 (1",
        ),
        (replace(ENTRY, against="shvit_s3"), "checked against shvit_s4, weights: random → shvit_s3"),
        (replace(ENTRY, tolerance=None), "tolerance atol 0, rtol 0.01 (4-bit weights) → measured"),
        (with_error(5e-6), f"error of logits ({CPU}) 2.0e-07 → 5.0e-06"),
    ],
)
def test_each_kind_of_drift_is_told_old_and_new(now: Entry, told: str) -> None:
    found = drift("a.onnx", ENTRY, now)
    assert found is not None
    assert found.told().startswith("a.onnx: ")
    assert told in found.told()


@pytest.mark.parametrize(
    "now",
    [
        ENTRY,
        with_error(1e-6),  # five times as much, but a tenth of the bound at most: another processor's rounding
        with_error(1e-9),
        with_error(None),
        replace(ENTRY, checks={"Core ML on macOS": {"logits": Figures(1.0, 1.0, "")}}),
    ],
)
def test_rounding_and_other_engines_are_no_drift(now: Entry) -> None:
    assert drift("a.onnx", ENTRY, now) is None


def test_an_error_where_there_was_none_is_a_drift() -> None:
    assert drift("a.onnx", with_error(None), with_error(1e-6)) is not None
    assert drift("a.onnx", with_error(0.0, None), with_error(1e-6, None)) is not None


def test_a_new_file_is_a_drift() -> None:
    found = drift("a.onnx", None, ENTRY)
    assert found is not None
    assert found.told() == "a.onnx: the file not in the baseline → new"


def test_a_long_drift_is_told_short() -> None:
    found = drift("a.onnx", ENTRY, replace(ENTRY, operations={f"Op{i}": 1 for i in range(20)}))
    assert found is not None
    assert found.told().endswith(" and 19 more")


def test_an_update_leaves_what_did_not_drift_to_the_letter() -> None:
    known = Baseline(Path("b.json"), {"a.onnx": ENTRY, "gone.onnx": ENTRY, "b.onnx": ENTRY})
    noise, other = with_error(3e-7), replace(ENTRY, tolerance=Accepted(1.0, 0.0, "why"))
    assert updated(known, {"a.onnx": noise, "b.onnx": other}).entries == {**known.entries, "b.onnx": other}
