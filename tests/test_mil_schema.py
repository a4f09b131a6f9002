"""The message classes come without coremltools, silently, and are the same that coremltools has later."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fuseport import mil
from fuseport.mil import schema
from mil_build import affine_program

ALONE = """
import sys, warnings
warnings.simplefilter("error")
import numpy as np
from fuseport import mil
mil.load(sys.argv[1]).predict({"x": np.zeros((2, 4))})
assert "coremltools" not in sys.modules
assert "onnx" not in sys.modules and "onnxruntime" not in sys.modules
"""

BEFORE = """
import logging, sys, warnings
warnings.simplefilter("ignore")
from fuseport.mil import schema
ours = type(schema.model_message())
logging.disable(logging.CRITICAL)
from coremltools.proto import Model_pb2
assert Model_pb2.Model is ours
assert type(schema.model_message()) is ours
"""


def test_loading_and_predicting_needs_no_coremltools_and_says_nothing(tmp_path: Path) -> None:
    path = affine_program().save(tmp_path / "m.mlpackage")
    done = subprocess.run([sys.executable, "-c", ALONE, str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_classes_are_coremltools_own() -> None:
    done = subprocess.run([sys.executable, "-c", BEFORE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_coremltools_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema.importlib.util, "find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, schema.PRIVATE_NAME, raising=False)
    with pytest.raises(mil.MilError, match=r"needs coremltools.*pip install 'fuseport\[coreml\]'"):
        schema._register_folder()
