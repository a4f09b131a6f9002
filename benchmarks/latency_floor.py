"""How low the ratio of `latency_peers.py` could go: what of our time no rewrite of the graph can take away.

    python benchmarks/latency_floor.py --rounds 40 --json benchmarks/latency_floor.json

Our file and that of timm + onnxsim run in turns with ONNX Runtime's profile on, one thread. The profile goes by the
clock, so what counts of each operator is the tenth percentile over the rounds, which others at work disturb least. The
work is what is left if all else cost nothing:

- convolutions and matrix products, of which ours has no more multiplications than the other;
- activations that are computed element by element (Gelu), since both files have the same.

Then floor = work of ours / everything of the other. Every change of layout, sum, norm, gate, split, softmax and reshape
counts as free in it. The rate is that of all our convolutions in 10⁹ operations (two per multiplication) per second,
beside that of the fastest one in the file: where they are close, kernels leave nothing to gain either.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from latency_peers import MODELS, OURS, conditions, files_of
from timm_models import conditioned

RIVAL = "timm+onnxsim"
PRODUCTS = ("Conv", "FusedConv", "Gemm", "MatMul", "FusedMatMul")
ACTIVATIONS = ("Gelu", "QuickGelu", "BiasGelu", "Erf")
WARM_UP = 3


@dataclass(frozen=True)
class Row:
    """Microseconds of one call, and the lowest ratio; rates in 10⁹ operations per second."""

    model: str
    rival_us: float
    ours_us: float
    products_us: float
    activations_us: float
    ratio: float
    floor: float
    rate: float
    best_rate: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--json", type=Path, help="write the figures here, and a table beside it as .md")
    parser.add_argument("--keep", type=Path, help="leave the ONNX files in this folder, and take those that are there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[Row] = []
    for name in options.models:
        rows.append(_measure(name, options.rounds, options.keep))
        print(_table(rows[-1:]), flush=True)
    if options.json:
        figures = {"rows": [asdict(row) for row in rows], "conditions": conditions(options.rounds, 1)}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
        options.json.with_suffix(".md").write_text(_table(rows) + "\n")


def _measure(name: str, rounds: int, keep: Path | None) -> Row:
    module, picture = conditioned(name)
    with tempfile.TemporaryDirectory() as scratch:
        folder = (keep or Path(scratch)) / name
        folder.mkdir(parents=True, exist_ok=True)
        files = files_of(module, picture, folder)
        traces = _profiled([files[OURS], files[RIVAL]], picture.numpy(), rounds, Path(scratch))
    ours, rival = (_by_operator(trace) for trace in traces)
    products = sum(time for kind, time, _ in ours if kind in PRODUCTS)
    activations = sum(time for kind, time, _ in ours if kind in ACTIVATIONS)
    whole, other = (sum(time for _, time, _ in found) for found in (ours, rival))
    rates = [2e-3 * macs / time for kind, time, macs in ours if kind in PRODUCTS and macs > 1e6]
    multiplied = sum(macs for _, _, macs in ours)
    return Row(
        model=name,
        rival_us=round(other),
        ours_us=round(whole),
        products_us=round(products),
        activations_us=round(activations),
        ratio=round(whole / other, 3),
        floor=round((products + activations) / other, 3),
        rate=round(2e-3 * multiplied / sum(time for _, time, macs in ours if macs), 1),
        best_rate=round(max(rates), 1),
    )


def _profiled(files: Sequence[Path], picture: np.ndarray, rounds: int, folder: Path) -> list[list[dict[str, Any]]]:
    """The events of warm calls of each file, which ran in turns."""
    sessions = [_session(path, folder / f"trace{at}") for at, path in enumerate(files)]
    for _ in range(WARM_UP + rounds):
        for session in sessions:
            session.run(None, {session.get_inputs()[0].name: picture})
    return [json.loads(Path(session.end_profiling()).read_text(encoding="utf-8")) for session in sessions]


def _session(path: Path, trace: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_profiling, options.profile_file_prefix = True, str(trace)
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _by_operator(trace: Sequence[dict[str, Any]]) -> list[tuple[str, float, int]]:
    """Kind, microseconds (the tenth percentile) and multiplications of each operator."""
    times: dict[str, list[float]] = defaultdict(list)
    about: dict[str, dict[str, Any]] = {}
    for event in trace:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            times[event["name"]].append(event["dur"])
            about[event["name"]] = event["args"]
    return [
        (about[name]["op_name"], float(np.percentile(taken[WARM_UP:], 10)), _multiplications(about[name]))
        for name, taken in times.items()
    ]


def _multiplications(about: dict[str, Any]) -> int:
    """Of a convolution or a product with a stored matrix; 0 for others."""
    shapes = [next(iter(shape.values())) for shape in about.get("input_type_shape", [])]
    outputs = [next(iter(shape.values())) for shape in about.get("output_type_shape", [])]
    if about["op_name"] not in ("Conv", "FusedConv") or len(shapes) < 2 or not outputs:
        return 0
    return math.prod(outputs[0]) * math.prod(shapes[1][1:])


def _table(rows: Sequence[Row]) -> str:
    titles = ("model", "other, µs", "ours, µs", "products", "activations", "ratio", "floor", "10⁹ op/s", "fastest")
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for row in rows:
        cells = [row.model, *(f"{value:.0f}" for value in (row.rival_us, row.ours_us))]
        cells += [f"{value:.0f}" for value in (row.products_us, row.activations_us)]
        cells += [f"{row.ratio:.3f}", f"**{row.floor:.3f}**", f"{row.rate:.1f}", f"{row.best_rate:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
