"""Output of ONNX Runtime's `onnxruntime_perf_test` → the normal form.

Its units are mixed: averages in milliseconds, percentiles and the session's creation in seconds. Each line states its
unit, and a line with a unit that is not known is left out rather than guessed.
"""

from __future__ import annotations

import re

from .document import MAX_SECONDS, ReportError, clean
from .report import Config, Device, Model, Report, Source
from .stage import Stage

NAME = "ort-perf"
TITLE = "onnxruntime_perf_test output"
MARKERS = (b"Average inference time cost",)
UNKNOWNS = ("device and OS (give them with --device and --os)", "model name", "raw samples", "time per operation")

_SECONDS = {"s": 1.0, "sec": 1.0, "ms": 1e-3, "us": 1e-6}
_DURATION = r"\s*([0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)\s*([a-z]+)\b"
_LINES = {
    "load": re.compile(rf"Session creation time cost:{_DURATION}"),
    "warmup": re.compile(rf"First inference time cost:{_DURATION}"),
    "mean": re.compile(rf"Average inference time cost(?: total)?:{_DURATION}"),
    "min": re.compile(rf"\bMin Latency(?::| is){_DURATION}"),
    "max": re.compile(rf"\bMax Latency(?::| is){_DURATION}"),
    "median": re.compile(rf"\bP50 Latency(?::| is){_DURATION}"),
    "p90": re.compile(rf"\bP90 Latency(?::| is){_DURATION}"),
    "p95": re.compile(rf"\bP95 Latency(?::| is){_DURATION}"),
    "p99": re.compile(rf"\bP99 Latency(?::| is){_DURATION}"),
    "p999": re.compile(rf"\bP999 Latency(?::| is){_DURATION}"),
}
_COUNT = re.compile(r"Total inference requests:\s*(\d{1,15})")
_RATE = re.compile(r"Number of inferences per second:\s*([0-9.]{1,30})")
_MEMORY = re.compile(r"Peak working set size:\s*(\d{1,18})")
_THREADS = re.compile(r"Setting intra_op_num_threads to (\d{1,6})")
_PROVIDER = re.compile(r"\b(\w{1,60}ExecutionProvider)\b")


def read(text: str, source: Source) -> Report:
    """The run in the normal form. Raises `ReportError` when the text holds no average, or several runs."""
    runs = len(re.findall(r"Total inference requests:", text))
    if runs > 1:
        raise ReportError(
            f"{source.name}: expected one onnxruntime_perf_test run, found {runs}; import one run per file"
        )
    found = {name: seconds for name, pattern in _LINES.items() if (seconds := _duration(pattern, text)) is not None}
    stated = {name: value for name, value in found.items() if name not in ("load", "warmup")}
    if "mean" not in stated:
        raise ReportError(f"{source.name}: onnxruntime_perf_test output without an average inference time; cut short?")
    count, rate, memory, threads = (_figure(p, text) for p in (_COUNT, _RATE, _MEMORY, _THREADS))
    stages = {"predict": Stage(stated=stated, count=int(count) if count else None)}
    if "load" in found:
        stages["load.all"] = Stage((found["load"],))
    if "warmup" in found:
        stages["warmup"] = Stage(stated={"first": found["warmup"]}, count=1)
    facts = {"requests_per_second": rate, "peak_memory_bytes": memory}
    provider = _PROVIDER.search(text)
    return Report(
        source=source,
        model=Model(),
        device=Device(),
        config=Config(units=clean(provider.group(1)) if provider else None, threads=int(threads) if threads else None),
        stages=stages,
        facts={key: value for key, value in facts.items() if value is not None},
        warnings=_doubts(stated),
        unknowns=UNKNOWNS,
    )


def _duration(pattern: re.Pattern[str], text: str) -> float | None:
    match = pattern.search(text)
    if not match or match.group(2) not in _SECONDS:
        return None
    seconds = float(match.group(1)) * _SECONDS[match.group(2)]
    return seconds if seconds <= MAX_SECONDS else None


def _figure(pattern: re.Pattern[str], text: str) -> float | None:
    match = pattern.search(text)
    try:
        return float(match.group(1)) if match else None
    except ValueError:  # "1.2.3"
        return None


def _doubts(stated: dict[str, float]) -> tuple[str, ...]:
    low, mean, high = (stated.get(name) for name in ("min", "mean", "max"))
    if low is None or high is None or mean is None or low <= mean * 1.001 <= high * 1.002:
        return ()
    return (f"the average {mean * 1e3:.4g} ms lies outside min {low * 1e3:.4g} ms to max {high * 1e3:.4g} ms",)
