"""Would queries, keys and values be faster in one layer and a split than in three? In ONNX Runtime, one thread.

    python benchmarks/siblings.py

Three linear layers, or 1×1 convolutions, of one input, each with a reader, against one of three times the width, a
split and the readers; taking turns, median ratio of the rounds. Above 1 the three are faster: why no rule merges them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

CASES = (
    *((49, 320, 320), (196, 192, 192), (196, 384, 384), (784, 96, 96), (3136, 48, 48), (64, 224, 64)),
    *((49, 192, 16), (196, 192, 16), (784, 96, 16), (196, 384, 32), (49, 512, 64), (1, 384, 384)),
)
"""Positions, input channels, output channels of each of the three."""

ROUNDS = 300


def main() -> None:
    print("| positions, channels in, out | linear | 1×1 convolution |\n|---|---|---|")
    for case in CASES:
        ratios = [_ratio(*case, as_map=as_map) for as_map in (False, True)]
        print(f"| {', '.join(map(str, case))} | {ratios[0]:.2f} | {ratios[1]:.2f} |")


def _ratio(positions: int, width: int, outputs: int, *, as_map: bool) -> float:
    """Median over rounds of one layer and a split over three layers."""
    generator = np.random.default_rng(0)
    weights = [generator.standard_normal((outputs, width)).astype(np.float32) for _ in range(3)]
    side = int(positions**0.5)
    shape = [1, width, side, side] if as_map else [1, positions, width]
    x = generator.standard_normal(shape).astype(np.float32)
    sessions = [_session(weights, shape, merged=merged) for merged in (True, False)]
    ratios = []
    for number in range(-20, ROUNDS):
        taken = [0.0, 0.0]
        for place in (0, 1) if number % 2 else (1, 0):
            begin = time.perf_counter()
            sessions[place].run(None, {"x": x})
            taken[place] = time.perf_counter() - begin
        ratios.append(taken[0] / taken[1])
    return statistics.median(ratios[20:])


def _session(weights: Sequence[np.ndarray], shape: list[int], *, merged: bool) -> onnxruntime.InferenceSession:
    parts = [np.concatenate(weights)] if merged else list(weights)
    nodes, stored = [], []
    for place, weight in enumerate(parts):
        bias = np.ones(len(weight), np.float32)
        laid_out = weight[:, :, None, None] if len(shape) == 4 else np.ascontiguousarray(weight.T)
        stored += [numpy_helper.from_array(laid_out, f"w{place}"), numpy_helper.from_array(bias, f"b{place}")]
        if len(shape) == 4:
            nodes.append(helper.make_node("Conv", ["x", f"w{place}", f"b{place}"], [f"y{place}"]))
        else:
            nodes.append(helper.make_node("MatMul", ["x", f"w{place}"], [f"m{place}"]))
            nodes.append(helper.make_node("Add", [f"m{place}", f"b{place}"], [f"y{place}"]))
    names = [f"y{place}" for place in range(len(parts))]
    if merged:
        names = ["q", "k", "v"]
        nodes.append(helper.make_node("Split", ["y0"], names, axis=1 if len(shape) == 4 else 2, num_outputs=3))
    nodes += [helper.make_node("Sigmoid", [name], [f"out_{name}"]) for name in names]
    outputs = [helper.make_tensor_value_info(f"out_{name}", TensorProto.FLOAT, None) for name in names]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes, "siblings", inputs, outputs, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    main()
