"""ONNX Runtime, on the CPU and on every other execution provider that this installation has.

The timed call is the session's `run`, from numpy arrays to numpy arrays: a provider with memory of its own pays for the
way there and back. Operators that a provider does not have run on the CPU, as ONNX Runtime would do it in an app.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ..artifact import in_one_line
from ..given import Given
from ..profile.operator_times import operator_times
from ..saved import session
from ..subject import Values
from .backend import Backend, CannotRun, Chosen, Opened

PROVIDERS: tuple[tuple[str, str, Chosen], ...] = (
    ("cpu", "CPU", "always"),
    ("cuda", "CUDA", "when present"),
    ("tensorrt", "Tensorrt", "when present"),
    ("openvino", "OpenVINO", "when present"),
    ("coreml", "CoreML", "when present"),
    ("dml", "Dml", "when present"),
    ("migraphx", "MIGraphX", "when present"),
    ("webgpu", "WebGpu", "when present"),
    ("qnn", "QNN", "when present"),
    ("dnnl", "Dnnl", "when present"),
    ("xnnpack", "Xnnpack", "when present"),
)
"""Name after `ort-`, name of the provider, and whether it is taken without being asked for."""


def _open(given: Given, threads: int, provider: str) -> Opened:
    try:
        opened = session.open_session(given.file, threads=threads, provider=provider)
    except Exception as error:  # onnxruntime's exceptions have no common base of their own
        raise CannotRun(f"ONNX Runtime cannot open {given.name}: {in_one_line(error)}") from error
    used = opened.get_providers()
    if provider not in used:
        raise CannotRun(f"ONNX Runtime could not start {provider} and fell back to {', '.join(used)}")
    names = [output.name for output in opened.get_outputs()]
    return Opened(session.inputs_of(opened), partial(_run, opened, names))


def _run(opened: Any, names: list[str], feed: Values) -> object:
    return opened.run(names, feed)


def _missing(provider: str) -> str:
    try:
        present = session.providers()
    except ImportError:
        return 'ONNX Runtime is not installed here; pip install "fuseport[onnx]"'
    if provider in present:
        return ""
    return f"this ONNX Runtime has no {provider}; it has {', '.join(present)}"


def _backend(name: str, title: str, chosen: Chosen) -> Backend:
    provider = f"{title}ExecutionProvider"
    missing, opener = partial(_missing, provider), partial(_open, provider=provider)
    return Backend(
        f"ort-{name}",
        f"ONNX Runtime {title}",
        "onnx",
        opener,
        missing,
        chosen,
        operators=partial(operator_times, provider=provider),
    )


BACKENDS = tuple(_backend(*row) for row in PROVIDERS)
