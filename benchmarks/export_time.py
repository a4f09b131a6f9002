"""`export-model` with its proof, against the bare calls that it is made of, in wall-clock time and peak memory.

Both sides export the same variant to ONNX and Core ML, each in a process of its own, taking turns, one after the other:

- ours: `export-model --variant NAME --format onnx --format coreml`, with folding, onnxsim, the checks and the report;
- bare: `torch.export`, `torch.onnx.export(dynamo=True)` and `ct.convert` on the unfused model, and saving both files.

    python benchmarks/export_time.py --variant shvit_s4 --repeats 5

Prints medians, the ratio, operator counts, the share of the proof in an export to Core ML alone (the stages that run
the model for comparison, check the saved package and look for weights the check cannot see, over all the rest of the
process), and the time of `export-model --help` over that of `import click`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

BARE = """
import sys, warnings
warnings.simplefilter("ignore")
import torch, coremltools as ct
from fuseport.models.loaded import load
loaded = load(sys.argv[1])
size = loaded.variant.preprocessing.size
x = (torch.zeros(1, 3, size, size),)
torch.onnx.export(loaded.module, x, sys.argv[2] + "/bare.onnx", dynamo=True, external_data=False, verbose=False)
program = torch.export.export(loaded.module, x).run_decompositions({})
ct.convert(program, minimum_deployment_target=ct.target.iOS16).save(sys.argv[2] + "/bare.mlpackage")
"""

OURS = """
import sys
from fuseport.export.cli import export_model
formats = [word for name in sys.argv[3:] for word in ("--format", name)]
sys.argv = ["export-model", "--variant", sys.argv[1], *formats, "--quiet", "--output-dir", sys.argv[2]]
export_model()
"""

PROOF = ("run the model for comparison", "check ", "look for weights")
"""How the names of the stages begin that an export without parity would not have."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variant", default="shvit_s4")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    figures = {
        "variant": options.variant,
        **_exports(options.variant, options.repeats),
        "coreml": _proof(options.variant, options.repeats),
        "help": _help(options.repeats),
        "conditions": _conditions(options.repeats),
    }
    print(json.dumps(figures, indent=2))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def _exports(variant: str, repeats: int) -> dict[str, object]:
    taken: dict[str, list[tuple[float, float]]] = {"ours": [], "bare": []}
    with tempfile.TemporaryDirectory() as folder:
        sides = {"bare": (BARE, variant, folder), "ours": (OURS, variant, folder, "onnx", "coreml")}
        for command in sides.values():  # a first run of each warms the disk cache
            _process(*command)
        for _ in range(repeats):
            for side, command in sides.items():
                taken[side].append(_process(*command))
        report = json.loads((Path(folder) / f"{variant}.report.json").read_text())
    medians = {side: [statistics.median(column) for column in zip(*rows, strict=True)] for side, rows in taken.items()}
    return {
        "seconds": {side: round(row[0], 2) for side, row in medians.items()},
        "peak_rss_mb": {side: round(row[1]) for side, row in medians.items()},
        "ratio_seconds": round(medians["ours"][0] / medians["bare"][0], 3),
        "ratio_peak_rss": round(medians["ours"][1] / medians["bare"][1], 3),
        "samples_seconds": {side: [round(row[0], 2) for row in rows] for side, rows in taken.items()},
        "operations": {
            result["artifact"]["format"]: sum(result["artifact"]["operations"].values()) for result in report["results"]
        },
    }


def _proof(variant: str, repeats: int) -> dict[str, object]:
    """Seconds of an export to Core ML, of the stages in it that prove it, and these over the rest."""
    rows: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(repeats):
            whole, _ = _process(OURS, variant, folder, "coreml")
            stages = json.loads((Path(folder) / f"{variant}.report.json").read_text())["stages"]
            rows.append((whole, sum(s["seconds"] for s in stages if s["name"].startswith(PROOF))))
    return {
        "seconds": round(statistics.median(whole for whole, _ in rows), 2),
        "seconds_of_proof": round(statistics.median(proof for _, proof in rows), 2),
        "proof_over_the_rest": round(statistics.median(proof / (whole - proof) for whole, proof in rows), 3),
    }


def _process(code: str, *arguments: str) -> tuple[float, float]:
    """Wall-clock seconds and peak resident megabytes of a Python process."""
    begin = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"a process failed with exit code {child.returncode}: {' '.join(arguments)}")
    kilobytes = usage.ru_maxrss if sys.platform != "darwin" else usage.ru_maxrss / 1024
    return time.perf_counter() - begin, kilobytes / 1024


def _help(repeats: int) -> dict[str, float]:
    """Median seconds of `export-model --help` and of importing click alone, and their ratio."""
    script = str(Path(sys.executable).with_name("export-model"))
    commands = {"help": [script, "--help"], "import click": [sys.executable, "-c", "import click"]}
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(4 * repeats):
        for name, command in commands.items():
            begin = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            taken[name].append(time.perf_counter() - begin)
    medians = {name: statistics.median(values) for name, values in taken.items()}
    return {
        **{name: round(value, 4) for name, value in medians.items()},
        "ratio": round(medians["help"] / medians["import click"], 2),
    }


def _conditions(repeats: int) -> dict[str, object]:
    packages = ("torch", "coremltools", "onnx", "onnxruntime", "onnxsim", "onnxscript", "timm", "numpy")
    return {
        "repeats": repeats,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


if __name__ == "__main__":
    main()
