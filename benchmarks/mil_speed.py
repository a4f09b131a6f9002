"""The executor's time and memory beside PyTorch eager: interpreter and ONNX Runtime engine, float32 and float16.

    python benchmarks/mil_speed.py --models shvit_s4 swiftformer_l1 --rounds 15 --out mil_speed.json

Each model is built with conditioned weights, captured and converted once (iOS16), and then all engines take turns on
one picture, on one thread: the medians are of the same minutes of the same machine, and the ratios are to eager of the
model as its authors define it, unfolded. Load time and peak memory are taken in a process of their own per package:
memory is what the process grew by over importing everything, beside what it must hold, the decoded weights and the
largest set of tensors alive at once (read from /proc, so on Linux only).
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch
from fuseport import mil, models
from fuseport.models.conditioned import drawn_pictures, fill_conditioned_

MODELS = ("shvit_s4", "swiftformer_l1", "vit_base_patch16_224", "mobilenetv4_conv_small", "fastvit_t8")
PRECISIONS = ("float32", "float16")

MEMORY = """
import json, sys, time
from pathlib import Path
import numpy as np, torch
import onnxruntime
torch.set_num_threads(1)
torch.nn.functional.conv2d(torch.zeros(1, 3, 32, 32), torch.zeros(8, 3, 3, 3))
from fuseport import mil
from fuseport.mil import schema
schema.model_message()

def peak_mb():  # getrusage would start with the peak of the parent process
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024

Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
before = peak_mb()
began = time.perf_counter()
model = mil.load(sys.argv[1])
load_s = time.perf_counter() - began
x = np.zeros(model.inputs[0].shape, np.float32)
model.predict({model.inputs[0].name: x})
print(json.dumps({"load_s": load_s, "grown_mb": peak_mb() - before}))
"""


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


def timed(runners: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each runner; they take turns."""
    samples: dict[str, list[float]] = {name: [] for name in runners}
    for runner in runners.values():
        runner()
    for _ in range(rounds):
        for name, runner in runners.items():
            began = time.perf_counter()
            runner()
            samples[name].append((time.perf_counter() - began) * 1000)
    return {name: median(values) for name, values in samples.items()}


def must_hold_mb(model: mil.Model, inputs: dict[str, Any]) -> tuple[float, float]:
    """Decoded weights, and the largest set of tensors alive between two operations, in MB."""
    from fuseport.mil.arithmetic import arithmetic
    from fuseport.mil.interpreter import Interpreter

    plan = Interpreter(model.function, arithmetic("declared")).plan
    weights = {id(t): t.nbytes for step in plan.steps for t in step.fixed.values() if isinstance(t, torch.Tensor)}
    sizes = {name: value.size * 4 for name, value in model.run(inputs, keep="all").values.items()}
    alive, largest = dict.fromkeys(inputs, 0), 0
    for step in plan.steps:
        alive.update({r.variable.name: sizes.get(r.variable.name, 0) for r in step.results})
        largest = max(largest, sum(alive.values()))
        for name in step.dead:
            alive.pop(name, None)
    return sum(weights.values()) / 2**20, largest / 2**20


def footprint(package: Path) -> dict[str, float]:
    """Load time and growth of a fresh process."""
    done = subprocess.run([sys.executable, "-c", MEMORY, str(package)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def measure(name: str, rounds: int, folder: Path) -> dict[str, Any]:
    """All figures of one model."""
    module, x = build(name)
    packages = convert(module, x, folder)
    opened = {precision: mil.load(package) for precision, package in packages.items()}
    engines = {precision: mil.accelerate(model, threads=1) for precision, model in opened.items()}
    with torch.inference_mode():
        runners: dict[str, Callable[[], object]] = {"eager": lambda: module(x)}
        for precision in PRECISIONS:
            runners[f"interpreter {precision}"] = lambda p=precision: opened[p].predict({"x": x})
            runners[f"onnxruntime {precision}"] = lambda p=precision: engines[p].predict({"x": x})
        milliseconds = timed(runners, rounds)
    memory = {}
    for precision, package in packages.items():
        weights, live = must_hold_mb(opened[precision], {"x": x})
        found = footprint(package)
        file_mb = sum(f.stat().st_size for f in package.rglob("*") if f.is_file()) / 2**20
        ratio = found["grown_mb"] / (weights + live)
        memory[precision] = {**found, "file_mb": file_mb, "weights_mb": weights, "live_mb": live, "ratio": ratio}
    ratios = {key: value / milliseconds["eager"] for key, value in milliseconds.items() if key != "eager"}
    ran = {precision: engine.ran for precision, engine in engines.items()}
    return {"milliseconds": milliseconds, "ratio_to_eager": ratios, "memory": memory, "ran": ran}


def show(name: str, found: dict[str, Any]) -> None:
    print(f"{name}: eager {found['milliseconds']['eager']:.1f} ms")
    for key, ratio in found["ratio_to_eager"].items():
        print(f"  {key:22s} {found['milliseconds'][key]:8.1f} ms  {ratio:.2f} x eager")
    for precision, row in found["memory"].items():
        held = f"weights {row['weights_mb']:.0f} + live {row['live_mb']:.0f}"
        print(
            f"  {precision}: {row['file_mb']:.0f} MB, load {row['load_s']:.2f} s, grown by {row['grown_mb']:.0f} MB = "
            f"{row['ratio']:.2f} x ({held}); {found['ran'][precision]}"
        )


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
