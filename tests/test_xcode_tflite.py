"""TFLite's benchmark_model output, old and new, with log prefixes and operator tables."""

from __future__ import annotations

import time

import pytest
from fuseport.validate.xcode import ReportError
from fuseport.validate.xcode.stage import statistic
from xcode_samples import read

NEW = """\
INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: Num threads: [4]
INFO: Graph: [/Users/demo/models/net_int8.tflite]
VERBOSE: Replacing 100 out of 104 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 3 partitions.
INFO: Initialized session in 119.515ms.
INFO: count=9 first=87112 curr=51629 min=51629 max=87112 avg=58147.4 std=11478 p5=51629 median=51962 p95=87112

INFO: count=1000 first=52162 curr=49785 min=49088 max=1.24e+06 avg=63743.2 std=60716 p5=49620 median=51891 p95=68628

INFO: Inference timings in us: Init: 119515, First inference: 87112, Warmup (avg): 58147.4, Inference (avg): 63743.2
INFO: Memory footprint delta from the start of the tool (MB): init=55.4961 overall=64.5
"""
OLD = """\
I/tflite  ( 1234): Loaded model /data/local/tmp/mobilenet.tflite
I/tflite  ( 1234): count=215 first=12231 curr=2106 min=2065 max=12231 avg=2331.42 std=746
I/tflite  ( 1234): count=459 first=2143 curr=2101 min=2056 max=2656 avg=2177.1 std=124
I/tflite  ( 1234): Average inference timings in us: Warmup: 2331.42, Init: 896, no stats: 2177.1
"""
TABLE = """\
Profiling Info for Benchmark Initialization:
============================== Run Order ==============================
\t             [node type]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]
\t         AllocateTensors\t    1.356\t    1.356\t100.000%\t100.000%\t     0.000\t        1\tAllocateTensors/0

Timings (microseconds): count=1 curr=1356
Memory (bytes): count=0

Operator-wise Profiling Info for Regular Benchmark Runs:
============================== Run Order ==============================
\t             [node type]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]
\t                 CONV_2D\t    0.199\t    0.300\t 30.000%\t 30.000%\t     0.000\t        1\t[net/conv1, relu]:0
\t Convolution (NHWC) GEMM\t0.125\t0.100\t70.000%\t100.000%\t0.000\t7\tDelegate/Convolution (NHWC) GEMM:2

============================== Top by Computation Time ==============================
\t             [node type]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]
\t                 SOFTMAX\t    0.199\t    0.300\t 30.000%\t 30.000%\t     0.000\t        1\t[x]:0
"""
CSV = """\
Operator-wise Profiling Info for Regular Benchmark Runs:
============================== Run Order ==============================
node type, first, avg_ms, %, cdf%, mem KB, times called, name
CONV_2D, 0.1, 0.3, 75%, 75%, 0, 1, [a, b]:0
RELU, 0.1, 0.1, 25%, 100%, 0, 1, [c]:1

"""


def test_a_new_output() -> None:
    report = read(NEW.encode(), "log.txt")
    predict = report.stages["predict"]
    assert predict.n == 1000
    assert {name: statistic(predict, name) for name in ("mean", "median", "p95", "max", "min", "first", "stdev")} == (
        pytest.approx(
            {
                "mean": 63743.2e-6,
                "median": 51891e-6,
                "p95": 68628e-6,
                "max": 1.24,
                "min": 49088e-6,
                "first": 52162e-6,
                "stdev": 60716e-6,
            }
        )
    )
    assert statistic(report.stages["warmup"], "first") == pytest.approx(87112e-6)
    assert report.stages["load.all"].samples == pytest.approx((119515e-6,))
    assert (report.model.name, report.config.threads, report.config.units) == ("net_int8", 4, "TfLiteXNNPackDelegate")
    assert report.facts == {"peak_memory_bytes": 64.5 * 2**20, "nodes_delegated": 100.0, "nodes": 104.0}
    assert "Users" not in repr(report)


def test_an_old_output() -> None:
    report = read(OLD.encode())
    assert statistic(report.stages["predict"], "mean") == pytest.approx(2177.1e-6)
    assert statistic(report.stages["predict"], "median") is None
    assert (report.stages["predict"].n, report.model.name) == (459, "mobilenet")


def test_only_the_last_line() -> None:
    line = "Inference timings in us: Init: 12345, First inference: 9876, Warmup (avg): 8000, Inference (avg): 7654.32"
    report = read(line.encode())
    assert statistic(report.stages["predict"], "mean") == pytest.approx(7654.32e-6)
    assert statistic(report.stages["warmup"], "first") == pytest.approx(9876e-6)


def test_equal_samples_are_printed_short() -> None:
    text = "count=5 curr=14 (all same)\nInference timings in us: Init: 1, Inference (avg): 14\n"
    stage = read(text.encode()).stages["predict"]
    assert stage.stated == pytest.approx({"first": 14e-6, "min": 14e-6, "max": 14e-6, "mean": 14e-6})
    assert stage.n == 5


def test_the_operator_table_counts_calls() -> None:
    report = read((NEW + TABLE).encode())
    assert [(op.name, op.type) for op in report.operations] == [
        ("net/conv1, relu", "CONV_2D"),
        ("Delegate/Convolution (NHWC) GEMM", "Convolution (NHWC) GEMM"),
    ]
    assert [op.seconds for op in report.operations] == pytest.approx([0.3e-3, 0.7e-3])
    assert [op.weight for op in report.operations] == pytest.approx([0.3, 0.7])
    assert report.stages["predict"].n == 1000  # not the "count=1" of the profile


def test_the_operator_table_as_csv() -> None:
    report = read((NEW + CSV).encode())
    assert [(op.name, op.type, op.weight) for op in report.operations] == [
        ("a, b", "CONV_2D", pytest.approx(0.75)),
        ("c", "RELU", pytest.approx(0.25)),
    ]


def test_memory_in_other_words() -> None:
    text = NEW.replace(
        "Memory footprint delta from", "Overall peak memory footprint (MB) via periodic monitoring: 13.5\n#"
    )
    assert read(text.encode()).facts["peak_memory_bytes"] == 13.5 * 2**20


def test_lines_made_to_stall_a_pattern() -> None:
    start = time.perf_counter()
    read((NEW + ("emory footprint" + "(MB): " * 300 + "\n") * 3000 + ("count=" * 300 + "\n") * 3000).encode())
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(("text", "message"), [
    (NEW + NEW, "expected one benchmark_model run, found 2"),
    ("Inference timings in us: Init: 5", "without an average inference time"),
    ("Inference timings in us: Init: 5, Inference (avg): 1e+30", "is no inference time"),
])  # fmt: skip
def test_refused(text: str, message: str) -> None:
    with pytest.raises(ReportError, match=message):
        read(text.encode())
