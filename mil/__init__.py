"""Loads a saved Core ML package and executes its ML Program on any operating system, without Core ML.

    model = fuseport.mil.load("net.mlpackage")
    model.predict({"x": array})

The program is executed as stored, operator by operator, in documented semantics (see `arithmetic.py`). This is not the
Neural Engine, nor any other Apple engine: how those round inside an operator is not modelled.
"""

from .arithmetic import MODES, Mode
from .drop_in import drop_in
from .engine import Engine, accelerate, save_onnx
from .errors import ExecutionError, InputError, MilError, PackageError, UnsupportedOperator
from .features import Feature
from .model import Model, Run, States, load

__all__ = [
    "MODES",
    "Engine",
    "ExecutionError",
    "Feature",
    "InputError",
    "MilError",
    "Mode",
    "Model",
    "PackageError",
    "Run",
    "States",
    "UnsupportedOperator",
    "accelerate",
    "drop_in",
    "load",
    "save_onnx",
]
