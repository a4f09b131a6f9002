"""Where the time of a call goes: ONNX Runtime's own profile, operator by operator, with the PyTorch module of each.

The profile is taken in a session of its own, after the measurement, since it slows every operator. What ONNX Runtime
added by itself (changes of layout) belongs to no module.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...validate.measure import timed_once
from ...validate.xcode import ort_profile
from ...validate.xcode.report import Operation, Source
from ..given import Given
from ..saved import session
from ..saved.modules import EXPORT_ID, modules_beside
from ..subject import Values
from .origins import Origins, origins_in
from .profile_report import OperatorTime, OperatorTimes

WARM_UP = 3
SECONDS, MOST_CALLS, FEWEST_CALLS = 2.0, 50, 3
"""How long is profiled: about so many seconds, in so many calls at most and at least."""


def operator_times(given: Given, threads: int, feed: Values, provider: str = session.CPU) -> OperatorTimes:
    """The mean time of every operator of the file over warm calls on `feed`, slowest first."""
    with tempfile.TemporaryDirectory() as folder:
        calls, trace = _profiled(given.file, threads, feed, provider, Path(folder))
    report = ort_profile.read(_without_first_calls(trace, WARM_UP), Source(ort_profile.NAME, given.name, "", 0))
    origins, told = _origins(given.file)
    operators = [_timed(operation, origins) for operation in report.operations]
    whole = sum(operator.ms for operator in operators)
    known = sum(operator.ms for operator in operators if operator.module is not None)
    predict = report.stages["predict"].samples
    return OperatorTimes(
        operators=tuple(sorted(operators, key=lambda operator: -operator.ms)),
        calls=calls,
        call_ms=sum(predict) / len(predict) * 1e3,
        joined=known / whole if whole else 0.0,
        modules_from=told,
    )


def _profiled(path: Path, threads: int, feed: Values, provider: str, folder: Path) -> tuple[int, list[dict[str, Any]]]:
    """The number of calls after the warm-up, and the events of all."""
    opened = session.open_session(path, threads=threads, provider=provider, profile=folder / "profile")
    names = [output.name for output in opened.get_outputs()]
    for _ in range(WARM_UP - 1):
        opened.run(names, feed)
    _, milliseconds = timed_once(lambda: opened.run(names, feed))
    calls = int(min(MOST_CALLS, max(FEWEST_CALLS, SECONDS * 1e3 / max(milliseconds, 1e-3))))
    for _ in range(calls):
        opened.run(names, feed)
    return calls, json.loads(Path(opened.end_profiling()).read_text(encoding="utf-8"))


def _without_first_calls(trace: list[dict[str, Any]], calls: int) -> list[dict[str, Any]]:
    """The events from the call after the first `calls` on."""
    starts = sorted(event["ts"] for event in trace if event.get("name") == "model_run")
    return [event for event in trace if event.get("ts", 0) >= starts[calls]]


def _timed(operation: Operation, origins: Origins) -> OperatorTime:
    names = (operation.name, *operation.outputs, operation.name.partition("/")[0])  # "node_matmul/MatMulScaleFusion/"
    module = origins.module_of(names, operation.type)
    return OperatorTime(operation.name, operation.type, module, operation.unit, (operation.seconds or 0.0) * 1e3)


def _origins(path: Path) -> tuple[Origins, str]:
    """Where operators come from, and what tells of their modules."""
    found = origins_in(path)
    if found.modules:
        return found, f"the nodes of {path.name}"
    told = session.metadata_of(session.open_session(path, threads=1)).get(EXPORT_ID)
    if beside := modules_beside(path, told):
        return replace(found, modules=beside), "the export's report beside the file"
    return found, "nowhere: neither the file nor a report beside it tells"
