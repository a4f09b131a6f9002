"""Load time and memory of the executor, beside what it must hold: the decoded weights, and the largest set of tensors
alive at once.

    python benchmarks/mil_memory.py --out mil_memory.json

A process of its own per package loads it, predicts twice, lets all go, and does the same again. The first growth
contains what any first use of PyTorch brings in: code pages of its libraries, kernels it generates. The second is what
one more model costs. Read from /proc, so on Linux only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from fuseport import mil
from mil_speed import MODELS, build, convert

PROCESS = """
import ctypes, gc, json, sys, time
from pathlib import Path
import numpy as np, torch
import onnxruntime
torch.set_num_threads(1)
torch.nn.functional.conv2d(torch.zeros(1, 3, 32, 32), torch.zeros(8, 3, 3, 3))
from fuseport import mil
from fuseport.mil import schema
schema.model_message()

def status(key):
    return int(Path("/proc/self/status").read_text().split(key + ":")[1].split()[0]) / 1024

def grown():  # getrusage would start with the peak of the parent process
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before, libraries = status("VmHWM"), status("RssFile")
    began = time.perf_counter()
    model = mil.load(sys.argv[1])
    load_s = time.perf_counter() - began
    given = {model.inputs[0].name: np.zeros(model.inputs[0].shape, np.float32)}
    model.predict(given)
    model.predict(given)
    peak = status("VmHWM") - before
    del model
    gc.collect()
    return load_s, peak, status("RssFile") - libraries

load_s, first, libraries = grown()
again = grown()[1]
print(json.dumps({"load_s": load_s, "first_mb": first, "code_mb": libraries, "again_mb": again}))
"""


def must_hold_mb(model: mil.Model, inputs: dict[str, Any]) -> tuple[float, float]:
    """Decoded weights, and the largest set of tensors alive between two operations, in MB."""
    from fuseport.mil.arithmetic import arithmetic
    from fuseport.mil.interpreter import Interpreter

    plan = Interpreter(model.function, arithmetic("declared")).plan
    weights = {id(t): t.nbytes for step in plan.steps for t in step.fixed.values() if isinstance(t, torch.Tensor)}
    sizes = {name: value.size * 4 for name, value in model.run(inputs, keep="all").values.items()}
    alive, largest = {name: value.nbytes for name, value in inputs.items()}, 0
    for step in plan.steps:
        alive.update({r.variable.name: sizes.get(r.variable.name, 0) for r in step.results})
        largest = max(largest, sum(alive.values()))
        for name in step.dead:
            alive.pop(name, None)
    return sum(weights.values()) / 2**20, largest / 2**20


def measure(package: Path, x: torch.Tensor) -> dict[str, float]:
    """All figures of one package."""
    done = subprocess.run([sys.executable, "-c", PROCESS, str(package)], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    weights, live = must_hold_mb(mil.load(package), {"x": x})
    file_mb = sum(f.stat().st_size for f in package.rglob("*") if f.is_file()) / 2**20
    ratios = {f"{key}_ratio": found[f"{key}_mb"] / (weights + live) for key in ("first", "again")}
    return {**found, "file_mb": file_mb, "weights_mb": weights, "live_mb": live, **ratios}


def show(name: str, row: dict[str, float]) -> None:
    print(
        f"{name}: {row['file_mb']:.0f} MB, load {row['load_s']:.2f} s; must hold {row['weights_mb']:.1f} + "
        f"{row['live_mb']:.1f} MB; first {row['first_mb']:.1f} MB ({row['first_ratio']:.2f} x, library pages "
        f"{row['code_mb']:.1f}), again {row['again_mb']:.1f} MB ({row['again_ratio']:.2f} x)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="load time and memory of the executor")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    table: dict[str, dict[str, float]] = {}
    for name in asked.models:
        module, x = build(name)
        with tempfile.TemporaryDirectory() as folder:
            for precision, package in convert(module, x, Path(folder)).items():
                row = table[f"{name} {precision}"] = measure(package, x)
                show(f"{name} {precision}", row)
        if asked.out:
            asked.out.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
