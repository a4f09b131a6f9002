"""onnxruntime_perf_test's output, old and new, and its mixed units."""

from __future__ import annotations

import pytest
from fuseport.validate.xcode import ReportError
from fuseport.validate.xcode.stage import statistic
from xcode_samples import read

NEW = """\
Setting intra_op_num_threads to 1
using XNNPACKExecutionProvider
Session creation time cost: 0.217932 s
First inference time cost: 196 ms
Total inference time cost: 0.49481 s
Total inference requests: 5
Average inference time cost total: 98.961997 ms
Total inference run time: 0.494854 s
Number of inferences per second: 10.104
Avg CPU usage: 11 %
Peak working set size: 271122432 bytes
Avg CPU usage:11
Peak working set size:271122432
Runs:5
Min Latency: 0.0958204 s
Max Latency: 0.101519 s
P50 Latency: 0.0995086 s
P90 Latency: 0.101519 s
P95 Latency: 0.101519 s
P99 Latency: 0.101519 s
P999 Latency: 0.101519 s
"""
OLD = """\
Session creation time cost:1.84149 s
Total inference requests:1000
Average inference time cost:58.8053 ms
Min Latency is 0.0559777sec
Max Latency is 0.0623472sec
P50 Latency is 0.0587108 sec
"""


def test_a_new_output() -> None:
    report = read(NEW.encode())
    predict = report.stages["predict"]
    assert predict.stated == pytest.approx(
        {
            "mean": 98.961997e-3,
            "min": 0.0958204,
            "max": 0.101519,
            "median": 0.0995086,
            "p90": 0.101519,
            "p95": 0.101519,
            "p99": 0.101519,
            "p999": 0.101519,
        }
    )
    assert predict.n == 5
    assert report.stages["load.all"].samples == (0.217932,)
    assert statistic(report.stages["warmup"], "first") == pytest.approx(0.196)
    assert report.facts == {"requests_per_second": 10.104, "peak_memory_bytes": 271122432}
    assert (report.config.units, report.config.threads) == ("XNNPACKExecutionProvider", 1)
    assert report.warnings == ()


def test_an_old_output() -> None:
    report = read(OLD.encode())
    assert report.stages["predict"].stated == pytest.approx(
        {"mean": 58.8053e-3, "min": 0.0559777, "max": 0.0623472, "median": 0.0587108}
    )
    assert report.stages["predict"].n == 1000


def test_an_average_outside_its_range_is_said() -> None:
    report = read(NEW.replace("98.961997 ms", "98.961997 s").encode())
    assert report.warnings == ("the average 9.896e+04 ms lies outside min 95.82 ms to max 101.5 ms",)


def test_a_unit_that_is_not_known_is_left_out() -> None:
    report = read(NEW.replace("P50 Latency: 0.0995086 s", "P50 Latency: 99508600 ns").encode())
    assert "median" not in report.stages["predict"].stated


@pytest.mark.parametrize(("text", "message"), [
    (NEW + NEW, "expected one onnxruntime_perf_test run, found 2"),
    ("Average inference time cost: many ms", "without an average"),
    ("Average inference time cost: 3 days", "without an average"),
])  # fmt: skip
def test_refused(text: str, message: str) -> None:
    with pytest.raises(ReportError, match=message):
        read(text.encode())
