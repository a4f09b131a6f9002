"""ONNX Runtime sessions: the one place where a saved .onnx file is opened to be run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..artifact import TensorSpec

CPU = "CPUExecutionProvider"
TYPES = {"float": "float32", "double": "float64"}
"""ONNX Runtime's names of element types where they are not numpy's."""


def open_session(
    path: Path, *, threads: int, provider: str = CPU, deterministic: bool = False, profile: Path | None = None
) -> Any:
    """The file in ONNX Runtime on `provider`; `threads` compute one operator together.

    `profile`: the beginning of the name of the file into which the time of every operator is written. Raises whatever
    onnxruntime raises for a file that it cannot open; its exceptions have no base of their own.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = deterministic
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")  # or its idle threads slow whoever runs next
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return onnxruntime.InferenceSession(path, options, providers=[provider])


def inputs_of(opened: Any) -> tuple[TensorSpec, ...]:
    """What a session takes; an open size has its name, or "?"."""
    return tuple(
        TensorSpec(given.name, tuple(size if size is not None else "?" for size in given.shape), _dtype(given.type))
        for given in opened.get_inputs()
    )


def providers() -> list[str]:
    """What this installation of ONNX Runtime can compute on. Raises ImportError where there is none."""
    import onnxruntime

    return onnxruntime.get_available_providers()


def metadata_of(opened: Any) -> dict[str, str]:
    """What the file says about itself."""
    return dict(opened.get_modelmeta().custom_metadata_map)


def _dtype(told: str) -> str:
    """`tensor(float)` → float32."""
    inner = told.partition("(")[2].removesuffix(")")
    return TYPES.get(inner, inner)
