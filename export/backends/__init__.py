"""What can run a model or a saved file for `fuseport profile`, one file per engine, and the table of them.

A backend is a `Backend` in the tuple `BACKENDS` of its file; a new engine is one file and one name below. None of them
loads its library before it is asked whether it is there.
"""

from __future__ import annotations

from . import core_ml, executor, onnx_runtime, pytorch
from .backend import Backend, CannotRun, Opened

__all__ = ["BACKENDS", "Backend", "CannotRun", "Opened"]

BACKENDS: tuple[Backend, ...] = (
    *pytorch.BACKENDS,
    *onnx_runtime.BACKENDS,
    *core_ml.BACKENDS,
    *executor.BACKENDS,
)
