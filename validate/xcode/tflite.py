"""Output of TFLite's (LiteRT's) `benchmark_model` → the normal form.

Totals are microseconds, the operator table milliseconds. The tool prints one `count=… first=… avg=…` line for the
warm-up and one for the measurement, no samples; percentiles only in newer builds. Lines may carry a log prefix
(`INFO:`, logcat's). In the operator table "avg ms" is per call and the share is per run, so the time of a run is their
product with "times called".
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath, PureWindowsPath

from .document import MAX_SECONDS, ReportError, clean
from .report import Config, Device, Model, Operation, Report, Source
from .stage import Stage

NAME = "tflite"
TITLE = "TFLite benchmark_model output"
MARKERS = (b"nference timings in us:",)
UNKNOWNS = ("device and OS (give them with --device and --os)", "compute unit of each operation", "raw samples")

_NUMBER = r"([0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)"
_PAIR = re.compile(rf"\b(count|first|curr|min|max|avg|std|p5|median|p95)={_NUMBER}")
_NAMES = {"first": "first", "min": "min", "max": "max", "avg": "mean", "std": "stdev"} | {
    name: name for name in ("p5", "median", "p95")
}
_TIMINGS = re.compile(r"nference timings in us:(.*)")
_INIT = re.compile(rf"\bInit: {_NUMBER}")
_FIRST = re.compile(rf"\bFirst inference: {_NUMBER}")
_AVERAGE = re.compile(rf"\b(?:Inference \(avg\)|Inference|no stats): {_NUMBER}")
_GRAPH = re.compile(r"\b(?:Graph: \[|Loaded model )([^\]]+)")
_THREADS = re.compile(r"(?:#threads used for CPU inference|Num threads): \[(\d{1,6})\]", re.IGNORECASE)
_DELEGATE = re.compile(r"Replacing (\d{1,9}) out of (\d{1,9}) node\(s\) with delegate \(([^)]*)\)")
_TABLE = "Operator-wise Profiling Info for Regular Benchmark Runs"


def read(text: str, source: Source) -> Report:
    """The run in the normal form. Raises `ReportError` when the text holds no measurement, or several."""
    lines = [line[:2000] for line in text.splitlines()]
    timings = [match.group(1) for line in lines if (match := _TIMINGS.search(line))]
    if len(timings) != 1:
        raise ReportError(
            f"{source.name}: expected one benchmark_model run, found {len(timings)}; import one run per file"
        )
    stages = _read_stages(lines, timings[0], source.name)
    operations = _read_table(lines)
    delegates = [match.groups() for line in lines if (match := _DELEGATE.search(line))]
    facts = {"peak_memory_bytes": _peak_memory(lines)}
    if delegates:
        facts |= {"nodes_delegated": float(sum(int(d[0]) for d in delegates)), "nodes": float(delegates[0][1])}
    threads = next((int(match.group(1)) for line in lines if (match := _THREADS.search(line))), None)
    return Report(
        source=source,
        model=Model(name=_graph_name(lines)),
        device=Device(),
        config=Config(units=clean(", ".join(dict.fromkeys(d[2] for d in delegates))) or None, threads=threads),
        stages=stages,
        operations=operations,
        listed=len(operations),
        facts={key: value for key, value in facts.items() if value is not None},
        unknowns=UNKNOWNS,
    )


def _read_stages(lines: list[str], timings: str, name: str) -> dict[str, Stage]:
    """The last statistics line is the measurement, one before it the warm-up."""
    found = [stage for line in lines if (stage := _statistics_line(line, name))]
    stages = {"predict": found[-1]} if found else {}
    if len(found) > 1:
        stages["warmup"] = found[-2]
    average, init, first = (pattern.search(timings) for pattern in (_AVERAGE, _INIT, _FIRST))
    if not found:
        if not average:
            raise ReportError(
                f"{name}: benchmark_model output without an average inference time; was the run cut short?"
            )
        stages["predict"] = Stage(stated={"mean": _seconds(average.group(1), name)})
    if init:
        stages["load.all"] = Stage((_seconds(init.group(1), name),))
    if first and "warmup" not in stages:
        stages["warmup"] = Stage(stated={"first": _seconds(first.group(1), name)}, count=1)
    return stages


def _statistics_line(line: str, name: str) -> Stage | None:
    """`count=50 first=1 … avg=2 std=3` (or `count=5 curr=14 (all same)`) → a stage without samples."""
    pairs = dict(_PAIR.findall(line))
    if "count" not in pairs or line.lstrip().startswith(("Timings (", "Memory (")):
        return None
    if "avg" not in pairs:
        if "curr" not in pairs:
            return None
        pairs |= dict.fromkeys(("first", "min", "max", "avg"), pairs["curr"])
    stated = {ours: _seconds(pairs[theirs], name) for theirs, ours in _NAMES.items() if theirs in pairs}
    count = int(float(pairs["count"][:18]))
    return Stage(stated=stated, count=count) if count else None


def _seconds(microseconds: str, name: str) -> float:
    value = float(microseconds) / 1e6
    if value > MAX_SECONDS:
        raise ReportError(f"{name}: {clean(microseconds)[:40]} µs is no inference time")
    return value


def _read_table(lines: list[str]) -> tuple[Operation, ...]:
    """The "Run Order" table of the operator profile; columns are found by the words of its header."""
    start = next((i for i, line in enumerate(lines) if _TABLE in line), None)
    if start is None:
        return ()
    rows = iter(lines[start + 1 :])
    header = next((line for line in rows if "[node type]" in line.lower() or line.startswith("node type,")), "")
    comma = header.startswith("node type,")
    columns = [
        column.strip(" []").lower() for column in (header.split(",") if comma else re.findall(r"\[[^\]]*\]", header))
    ]
    operations = []
    for line in rows:
        cells = _cells(line, len(columns), comma)
        if len(cells) != len(columns):
            break
        operations.append(_row(dict(zip(columns, cells, strict=True))))
    total = sum(op.seconds or 0.0 for op in operations)
    shares = [(op.seconds or 0.0) / total if total else None for op in operations]
    return tuple(_weighted(op, share) for op, share in zip(operations, shares, strict=True))


def _cells(line: str, width: int, comma: bool) -> list[str]:
    """Node types hold single blanks and names may hold commas: split from the outside in."""
    if comma:
        return [cell.strip() for cell in line.split(",", width - 1)] if line.strip() else []
    words = line.replace("\t", "  ").strip()
    return re.split(r"\s{2,}", words, maxsplit=width - 1) if words else []


def _row(row: dict[str, str]) -> Operation:
    average, called = _float(row.get("avg ms", row.get("avg_ms"))), _float(row.get("times called"))
    name = re.sub(r":\d+$", "", clean(row.get("name", ""))).strip("[] ")
    seconds = None if average is None else average / 1e3 * max(called or 1.0, 1.0)
    return Operation(name=name or "(unnamed)", type=clean(row.get("node type", "")), outputs=(name,), seconds=seconds)


def _weighted(operation: Operation, share: float | None) -> Operation:
    return Operation(operation.name, operation.type, operation.outputs, weight=share, seconds=operation.seconds)


def _float(text: str | None) -> float | None:
    match = re.fullmatch(_NUMBER, (text or "").strip())
    return min(float(match.group(1)), 1e12) if match else None


def _graph_name(lines: list[str]) -> str | None:
    """The model's file name, without its folder (which may be somebody's home) and its ending."""
    path = next((match.group(1) for line in lines if (match := _GRAPH.search(line))), None)
    if not path:
        return None
    return clean(PureWindowsPath(PurePosixPath(path.strip()).name).stem) or None


def _peak_memory(lines: list[str]) -> float | None:
    """`… memory footprint … (MB): init=0 overall=12.9`, or the figure after the last colon; in bytes."""
    figure = None
    for line in lines:
        if "emory footprint" in line and "(MB)" in line:
            figure = _float(re.split(r"overall=|: ", line)[-1]) or figure
    return None if figure is None else figure * 2.0**20
