"""The executor's time beside PyTorch eager: interpreter and ONNX Runtime engine, float32 and float16 packages.

    python benchmarks/mil_speed.py --models shvit_s4 swiftformer_l1 --rounds 15 --out mil_speed.json

Each model is built with conditioned weights, captured and converted once (iOS16), and then all engines take turns on
one picture, on one thread: the medians are of the same minutes of the same machine, and the ratios are to eager of the
model as its authors define it, unfolded. Two more figures say what can be had at all:

    peer    the same model by `torch.onnx.export` (opset 20, optimized) in the same ONNX Runtime, without rounding
    bound   its products of matrices and convolutions alone, at the highest rate that either library reached in a plain
            product of matrices between the rounds: no float32 engine on this processor is faster than that
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import platform
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import onnx
import onnxruntime
import torch
from fuseport import mil, models
from fuseport.models.conditioned import drawn_pictures, fill_conditioned_
from torch.utils.flop_counter import FlopCounterMode

MODELS = ("shvit_s4", "swiftformer_l1", "vit_base_patch16_224", "mobilenetv4_conv_small", "fastvit_t8")
PRECISIONS = ("float32", "float16")


def build(name: str) -> tuple[torch.nn.Module, torch.Tensor]:
    """The model with conditioned weights, and one picture."""
    if name in models.variants():
        variant = models.find(name)
        module, size = models.create(name), variant.preprocessing.size
    else:
        import timm

        module = timm.create_model(name)
        size = module.default_cfg["input_size"][-1]
    module.eval()
    fill_conditioned_(module, picture=(3, size, size))
    return module.float(), drawn_pictures((1, 3, size, size)).float()


def convert(module: torch.nn.Module, x: torch.Tensor, folder: Path) -> dict[str, Path]:
    """A package per precision."""
    logging.getLogger("coremltools").setLevel(logging.CRITICAL)
    import coremltools as ct

    program = torch.export.export(module, (x,)).run_decompositions({})
    packages = {}
    for precision in PRECISIONS:
        options: dict[str, Any] = {
            "inputs": [ct.TensorType(name="x", shape=x.shape)],
            "minimum_deployment_target": ct.target.iOS16,
            "compute_precision": ct.precision[precision.upper()],
            "skip_model_load": True,
        }
        packages[precision] = folder / f"{precision}.mlpackage"
        converted: Any = ct.convert(program, **options)
        converted.save(str(packages[precision]))
    return packages


def peer(module: torch.nn.Module, x: torch.Tensor, folder: Path) -> Callable[[], object]:
    """The model as PyTorch's own exporter writes it, in ONNX Runtime on one thread."""
    path = folder / "peer.onnx"
    with contextlib.redirect_stdout(io.StringIO()):
        torch.onnx.export(module, (x,), str(path), opset_version=20, dynamo=True, optimize=True)
    session = one_thread(path)
    given = {session.get_inputs()[0].name: x.numpy()}
    return lambda: session.run(None, given)


def one_thread(model: Path | bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def products(module: torch.nn.Module, x: torch.Tensor) -> int:
    """Floating-point operations of the model's products of matrices and convolutions, a multiplication and an addition
    for each element."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        module(x)
    return counter.get_total_flops()


def plain_products() -> tuple[dict[str, Callable[[], object]], int]:
    """One product of two matrices in both libraries, and its floating-point operations."""
    rows, inner, columns = 256, 768, 768
    x, weight = torch.randn(rows, inner), torch.randn(inner, columns)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (rows, inner))],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, (rows, columns))],
        [onnx.numpy_helper.from_array(weight.numpy(), "w")],
    )
    opset = onnx.helper.make_opsetid("", 20)
    session = one_thread(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10).SerializeToString())
    given = {"x": x.numpy()}
    runners = {"product in torch": lambda: x @ weight, "product in onnxruntime": lambda: session.run(None, given)}
    return runners, 2 * rows * inner * columns


def timed(runners: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each runner in each round; they take turns."""
    samples: dict[str, list[float]] = {name: [] for name in runners}
    for runner in runners.values():
        runner()
    for _ in range(rounds):
        for name, runner in runners.items():
            began = time.perf_counter()
            runner()
            samples[name].append((time.perf_counter() - began) * 1000)
    return samples


def measure(name: str, rounds: int, folder: Path) -> dict[str, Any]:
    """All figures of one model."""
    module, x = build(name)
    packages = convert(module, x, folder)
    opened = {precision: mil.load(package) for precision, package in packages.items()}
    engines = {precision: mil.accelerate(model, threads=1) for precision, model in opened.items()}
    plain, operations = plain_products()
    runners: dict[str, Callable[[], object]] = {"eager": lambda: module(x), "peer": peer(module, x, folder), **plain}
    for precision in PRECISIONS:
        runners[f"interpreter {precision}"] = lambda p=precision: opened[p].predict({"x": x})
        runners[f"onnxruntime {precision}"] = lambda p=precision: engines[p].predict({"x": x})
    with torch.inference_mode():
        samples = timed(runners, rounds)
    fastest = min(min(samples.pop(name)) for name in plain)
    milliseconds = {name: median(values) for name, values in samples.items()}
    bound = products(module, x) / operations * fastest
    eager = milliseconds["eager"]
    ratios = {key: value / eager for key, value in milliseconds.items() if key != "eager"}
    return {
        "milliseconds": milliseconds,
        "ratio_to_eager": ratios,
        "ratio_of_minima": {key: min(values) / min(samples["eager"]) for key, values in samples.items()},
        "bound": {"milliseconds": bound, "ratio_to_fastest_eager": bound / min(samples["eager"])},
        "gflops": operations / fastest / 1e6,
        "ran": {precision: engine.ran for precision, engine in engines.items()},
    }


def show(name: str, found: dict[str, Any]) -> None:
    print(f"{name}: eager {found['milliseconds']['eager']:.1f} ms; {found['ran']}")
    for key, ratio in found["ratio_to_eager"].items():
        minima = found["ratio_of_minima"][key]
        print(f"  {key:22s} {found['milliseconds'][key]:8.1f} ms  {ratio:.2f} x eager ({minima:.2f} of the minima)")
    limit, ratio = found["bound"]["milliseconds"], found["bound"]["ratio_to_fastest_eager"]
    print(f"  bound at {found['gflops']:.0f} GFLOPS {limit:13.1f} ms  {ratio:.2f} x the fastest eager")


def main() -> None:
    parser = argparse.ArgumentParser(description="the executor beside PyTorch eager")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    table: dict[str, Any] = {
        "conditions": {
            "machine": f"{platform.machine()} {platform.system()}",
            "threads": 1,
            "rounds": asked.rounds,
            "versions": {n: version(n) for n in ("torch", "coremltools", "onnxruntime", "timm", "numpy")},
        },
        "models": {},
    }
    for name in asked.models:
        with tempfile.TemporaryDirectory() as folder:
            table["models"][name] = measure(name, asked.rounds, Path(folder))
        show(name, table["models"][name])
        if asked.out:
            asked.out.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
