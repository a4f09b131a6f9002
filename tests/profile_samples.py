"""Small files to profile, and a profile report that has everything in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from fuseport.export.artifact import NotRun
from fuseport.export.profile.profile_report import (
    SCHEMA,
    Conditions,
    Entrant,
    Memory,
    OperatorTime,
    OperatorTimes,
    Placed,
    ProfileReport,
    Throughput,
    Work,
    profile_json,
)
from fuseport.validate.interval import Interval
from fuseport.validate.latency import Conditions as Taken
from fuseport.validate.latency import Latency, latency_of
from fuseport.validate.machine import Machine
from fuseport.validate.measure import Plan
from fuseport.validate.race import Verdict
from fuseport.validate.roofline import Distance, Roofline


def small_onnx(folder: Path, name: str = "small.onnx", *, batch: str | int = "n", side: int | str = 8) -> Path:
    """A convolution, a ReLU and a classifier, each noting its module; the batch is open unless it is given."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="act"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "h"], ["logits"], name="gemm"),
    ]
    for node, module in zip(nodes, ("stem.conv", "stem.act", "pool", "pool", "head"), strict=True):
        node.metadata_props.add(key="fuseport.module", value=module)
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, side, side])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 10])],
        [
            numpy_helper.from_array(random.standard_normal(shape, dtype=np.float32), name)
            for name, shape in (("w", (4, 3, 3, 3)), ("h", (4, 10)))
        ],
    )
    path = folder / name
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def latency(middle: float, *, batch: int = 1, spread: float = 0.02) -> Latency:
    """Of 40 samples about `middle` milliseconds, half of them within `spread` of it."""
    samples = middle * (1 + spread * np.random.default_rng(0).standard_normal(40) / 1.349)
    return latency_of(
        samples.tolist(),
        Taken(1, batch, "CPU: test"),
        warmup=3,
        first_ms=3 * middle,
        interval=Interval(middle * 0.99, middle * 1.01),
        confidence=0.95,
        settled=True,
    )


def profile_report() -> ProfileReport:
    """Two contestants that ran, one of them with everything, and one that could not run."""
    fast, slow = latency(4.0), latency(9.0)
    operators = OperatorTimes(
        (
            OperatorTime("conv", "Conv", "stem.conv", "cpu", 2.0),
            OperatorTime("gemm", "Gemm", "head", "cpu", 1.0),
            OperatorTime("reorder", "ReorderInput", None, "cpu", 0.5),
        ),
        calls=50,
        call_ms=3.9,
        joined=3 / 3.5,
        modules_from="the nodes of small.onnx",
    )
    placed = (Placed("c", "conv", "ane", ("cpu", "ane"), 0.9), Placed("t", "topk", "cpu", ("cpu",), None))
    first = Entrant(
        name="small.onnx, ONNX Runtime CPU",
        subject="small.onnx",
        backend="ort-cpu",
        note="",
        load_ms=12.0,
        latency=fast,
        ratio=1.0,
        versus="the first",
        throughput=(
            Throughput(1, 250.0, 247.5, 252.5, fast, 1.0),
            NotRun("it takes a batch of 1 alone, not 8; export it with --dynamic-batch, or with --batch-size 8"),
        ),
        memory=Memory(5_000_000, 9_000_000, 300_000_000, "VmHWM, reset before loading"),
        operators=operators,
        placement=None,
        work=Work(1_000_000, 4_000, 90_000),
        roofline=Distance(1.0, "compute", 5e8, 0.25),
    )
    second = Entrant(
        name="small, PyTorch eager",
        subject="small",
        backend="torch",
        note="a note",
        load_ms=30.0,
        latency=slow,
        ratio=2.25,
        versus="slower than the first",
        throughput=(
            Throughput(1, 111.1, 110.0, 112.2, slow, 0.44),
            Throughput(8, 400.0, 396.0, 404.0, latency(20.0, batch=8), None),
        ),
        memory=NotRun("its process was killed, most likely for want of memory"),
        operators=None,
        placement=placed,
        work=NotRun("not counted"),
        roofline=NotRun("not counted"),
    )
    why = NotRun("Core ML prediction needs macOS")
    third = Entrant(
        name="small.mlpackage, Core ML, all compute units",
        subject="small.mlpackage",
        backend="coreml-all",
        note="",
        load_ms=None,
        latency=why,
        ratio=None,
        versus=None,
        throughput=(why, why),
        memory=why,
        operators=why,
        placement=why,
        work=None,
        roofline=None,
    )
    return ProfileReport(
        schema=SCHEMA,
        fuseport="0.1.0",
        conditions=Conditions(
            taken_at="2026-11-21T12:00:00+00:00",
            machine=Machine("CPU: test", 2, 8 * 2**30, 2**20, "Linux 6", "3.11.7"),
            load_before=0.1,
            load_after=0.9,
            timer_ns=60.0,
            threads=1,
            batch=1,
            inputs="normally distributed numbers, seed 0",
            load="in the measuring process",
            plan=Plan(),
            versions={"torch": "2.14.1"},
        ),
        entrants=(first, second, third),
        verdict=Verdict("winner", "small.onnx, ONNX Runtime CPU", "the 95% intervals of the medians are apart"),
        roofline=Roofline(2e9, 1e9, 1, "best of the calls in 3 s"),
    )


def profile_form() -> dict[str, Any]:
    """The same in its JSON form."""
    return json.loads(profile_json(profile_report()))
