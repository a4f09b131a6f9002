"""ONNX Runtime's profile (a Chrome trace, the file that `end_profiling()` names) → the normal form.

Durations are microseconds. `model_run` events are the predictions, `session_initialization` the load, node events
named `…_kernel_time` the operations; their time is the mean per run. Optimised graphs rename nodes: a fused node is
called after its output, with `_nchwc` where the layout was changed.
"""

from __future__ import annotations

from typing import Any

from .document import MAX_SECONDS, read_number, read_text
from .report import Config, Device, Model, Operation, Report, Source
from .stage import Stage

NAME = "ort-profile"
TITLE = "ONNX Runtime profile"
MARKERS = (b'"model_run"', b'_kernel_time"')
UNKNOWNS = ("device and OS (give them with --device and --os)", "model name", "threads")
PROVIDER_UNITS = {
    "CPUExecutionProvider": "cpu",
    "CUDAExecutionProvider": "gpu",
    "TensorrtExecutionProvider": "gpu",
    "ROCMExecutionProvider": "gpu",
    "DmlExecutionProvider": "gpu",
    "WebGpuExecutionProvider": "gpu",
}
_SUFFIX = "_kernel_time"
_OVERHEAD = "taken with profiling on, which slows every call: compare the operations, not the prediction time"


def recognises(document: Any) -> bool:
    """Whether the value is an array of trace events with a node or a run of ONNX Runtime among them."""
    return isinstance(document, list) and any(
        _is_event(e) and (_is_node(e) or e["name"] == "model_run") for e in document
    )


def read(document: list[Any], source: Source) -> Report:
    """The profile in the normal form. Raises `ReportError` where a duration is no number."""
    events = [event for event in document if _is_event(event)]
    loads = tuple(_duration(e) for e in events if e["name"] == "session_initialization")
    runs = tuple(_duration(e) for e in events if e["name"] == "model_run")
    stages = {"load.all": Stage(loads)} if loads else {}
    if runs:
        stages["predict"] = Stage(runs)
    operations = _read_operations([e for e in events if _is_node(e)], max(len(runs), 1))
    providers = dict.fromkeys(op.unit for op in operations if op.unit)
    return Report(
        source=source,
        model=Model(),
        device=Device(),
        config=Config(units=", ".join(providers) or None),
        stages=stages,
        operations=operations,
        listed=len(operations),
        warnings=(_OVERHEAD,) if runs else ("the profile holds no model_run: no prediction time", _OVERHEAD),
        unknowns=UNKNOWNS,
    )


def _is_event(event: Any) -> bool:
    return isinstance(event, dict) and isinstance(event.get("name"), str) and "dur" in event


def _is_node(event: dict[str, Any]) -> bool:
    return event.get("cat") == "Node" and event["name"].endswith(_SUFFIX)


def _duration(event: dict[str, Any]) -> float:
    return read_number(event["dur"], "dur", low=0, high=MAX_SECONDS * 1e6) / 1e6


def _read_operations(events: list[dict[str, Any]], runs: int) -> tuple[Operation, ...]:
    """One operation per node, in order of first execution; its weight is its share of the time in all nodes."""
    totals: dict[tuple[str, str, str], float] = {}
    for event in events:
        args = event.get("args")
        args = args if isinstance(args, dict) else {}
        provider = args.get("provider")
        key = (
            read_text(event["name"], "name")[: -len(_SUFFIX)] or "(unnamed)",
            read_text(args.get("op_name", "unknown"), "args.op_name"),
            read_text(provider, "args.provider") if provider else "",
        )
        totals[key] = totals.get(key, 0.0) + _duration(event)
    whole = sum(totals.values())
    return tuple(
        Operation(
            name=name,
            type=kind,
            outputs=tuple(dict.fromkeys((name, name.removesuffix("_nchwc"), name.removeprefix("node_")))),
            unit=PROVIDER_UNITS.get(provider, provider) or None,
            weight=total / whole if whole else None,
            seconds=total / runs,
        )
        for (name, kind, provider), total in totals.items()
    )
