"""A sample of coremltools' own operator tests with our executor in the place of Core ML.

`python benchmarks/conformance.py` runs more of them, or all, and keeps the table in benchmarks/conformance.md.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = "0.25"
"""One case of every fourth test function."""


def run(out: Path, *tests: str) -> dict[str, dict[str, int]]:
    """The plugin's table after running `tests` in a process of their own."""
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-W", "ignore", "-c", os.devnull, "--rootdir", str(out.parent)),
        *("-p", "benchmarks.conformance_plugin", "-p", "no:cacheprovider", "--tb=no"),
        *("--continue-on-collection-errors", "--conformance-sample", SAMPLE, "--conformance-out", str(out)),
        *tests,
    ]
    environment = {**os.environ, "PYMIL_TEST_TARGETS": "mlprogram", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env=environment, check=False, capture_output=True, timeout=600)
    return json.loads(out.read_text())


def test_a_sample_of_the_operator_tests_passes(tmp_path: Path) -> None:
    table = run(tmp_path / "table.json", "--pyargs", "coremltools.converters.mil.mil.ops.tests")
    failures = [f for f in table["failures"] if f["reason"] == "not explained"]  # pyright: ignore
    assert failures == []
    assert table["outcomes"]["executed, passed"] >= 40
    assert len(table["operators"]) >= 40


WRONG = """
import numpy as np
import coremltools as ct
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.testing_utils import compare_backend


def test_square_is_taken_for_a_cube():
    @mb.program(input_specs=[mb.TensorSpec(shape=(3,))])
    def program(x):
        return mb.square(x=x, name="y")

    model = ct.convert(program, convert_to="mlprogram")
    x = np.array([1.0, 2.0, 3.0], np.float32)
    compare_backend(model, {"x": x}, {"y": x**3})
"""


def test_a_wrong_answer_fails_a_test_of_coremltools(tmp_path: Path) -> None:
    """The plugin really compares: off macOS, without it, this test would pass."""
    file = tmp_path / "test_wrong.py"
    file.write_text(WRONG)
    table = run(tmp_path / "table.json", str(file))
    assert table["outcomes"] == {"executed, failed": 1}
