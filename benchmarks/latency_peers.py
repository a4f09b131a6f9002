"""ONNX Runtime on our files and on those of the best other route, one thread, taking turns sample by sample.

The routes, from one module with one set of conditioned weights:

- ours: capture, fold, `to_onnx.convert` with its defaults;
- timm: `reparameterize_model`, then `torch.onnx.export(dynamo=True)` with its defaults;
- timm+onnxsim: the same, then `onnxsim.simplify`.

    python benchmarks/latency_peers.py --rounds 200 --json benchmarks/latency_peers.json

Each round runs every session once, in an order that turns; sessions have ONNX Runtime's default optimisations. The
ratio is the median over rounds of ours / the other, which drift of the machine leaves alone. Beside it stands each
file's largest error against the unfolded module in float64, over the root mean square of its output.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import onnxsim
import torch
from fuseport.export import to_onnx
from fuseport.export.request import Request
from fuseport.reparam import RULES, capture, fold
from timm_models import conditioned, relative_error, reparameterized
from torch import Tensor, nn

MODELS = ("shvit_s4", "swiftformer_l1", "fastvit_t8", "repvit_m0_9", "efficientformerv2_s0", "mobilenetv4_conv_small")
OURS, PEERS = "ours", ("timm", "timm+onnxsim")


@dataclass(frozen=True)
class Row:
    """One model: per route median milliseconds, nodes and error; ours over each peer, median of the rounds' ratios."""

    model: str
    median_ms: dict[str, float]
    nodes: dict[str, int]
    error: dict[str, float]
    ratio: dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--json", type=Path, help="write the figures here, and a table beside it as .md")
    parser.add_argument("--keep", type=Path, help="leave the ONNX files in this folder")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [_measure(name, options.rounds, options.keep) for name in options.models]
    print(_table(rows))
    if options.json:
        figures = {"rows": [row.__dict__ for row in rows], "conditions": _conditions(options.rounds)}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
        options.json.with_suffix(".md").write_text(_table(rows) + "\n")


def _measure(name: str, rounds: int, keep: Path | None) -> Row:
    module, picture = conditioned(name)
    with torch.no_grad():
        truth = module.double()(picture.double())
    module.float()
    with tempfile.TemporaryDirectory() as scratch:
        folder = (keep or Path(scratch)) / name
        folder.mkdir(parents=True, exist_ok=True)
        files = _files(module, picture, folder)
        nodes = {route: len(onnx.load(path, load_external_data=False).graph.node) for route, path in files.items()}
        sessions = {route: _session(path) for route, path in files.items()}
    feeds = {route: {session.get_inputs()[0].name: picture.numpy()} for route, session in sessions.items()}
    outputs = {route: np.asarray(session.run(None, feeds[route])[0]) for route, session in sessions.items()}
    samples = _take_turns(sessions, feeds, rounds)
    return Row(
        model=name,
        median_ms={route: round(statistics.median(taken), 3) for route, taken in samples.items()},
        nodes=nodes,
        error={route: relative_error(truth, torch.from_numpy(value)) for route, value in outputs.items()},
        ratio={peer: round(_ratio(samples[OURS], samples[peer]), 3) for peer in PEERS},
    )


def _files(module: nn.Module, picture: Tensor, folder: Path) -> dict[str, Path]:
    """The ONNX file of each route."""
    paths = {route: folder / f"{route}.onnx" for route in (OURS, *PEERS)}
    folded = fold(capture(module, (picture,)), RULES).module
    program = torch.export.export(folded, (picture,), strict=False)
    to_onnx.convert(program, paths[OURS], Request(), {}, input_names=("x",), output_names=("y",), export_id=OURS)
    with redirect_stdout(io.StringIO()):
        torch.onnx.export(
            reparameterized(module), (picture,), paths["timm"], dynamo=True, external_data=False, verbose=False
        )
    simplified, _ = onnxsim.simplify(onnx.load(paths["timm"]))
    onnx.save(simplified, paths["timm+onnxsim"])
    return paths


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _take_turns(
    sessions: dict[str, onnxruntime.InferenceSession], feeds: dict[str, dict[str, np.ndarray]], rounds: int
) -> dict[str, list[float]]:
    """Milliseconds of each route in each round; the order turns by one, so that nobody always follows the same."""
    routes = list(sessions)
    samples: dict[str, list[float]] = {route: [] for route in routes}
    for number in range(-10, rounds):
        start = number % len(routes)
        for route in routes[start:] + routes[:start]:
            begin = time.perf_counter()
            sessions[route].run(None, feeds[route])
            if number >= 0:
                samples[route].append(1e3 * (time.perf_counter() - begin))
    return samples


def _ratio(ours: Sequence[float], other: Sequence[float]) -> float:
    return statistics.median(one / two for one, two in zip(ours, other, strict=True))


def _table(rows: Sequence[Row]) -> str:
    lines = [
        f"| model | ms: {OURS} | {' | '.join(PEERS)} | ratio to {' | to '.join(PEERS)} | nodes | largest error |",
        "|---|" + "---|" * 7,
    ]
    for row in rows:
        cells = [row.model, *(f"{row.median_ms[route]:.2f}" for route in (OURS, *PEERS))]
        cells += [f"**{row.ratio[peer]:.3f}**" for peer in PEERS]
        cells += [" / ".join(str(row.nodes[route]) for route in (OURS, *PEERS))]
        cells += [" / ".join(f"{row.error[route]:.1e}" for route in (OURS, *PEERS))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _conditions(rounds: int) -> dict[str, object]:
    packages = ("torch", "onnx", "onnxruntime", "onnxsim", "onnxscript", "timm", "numpy")
    return {
        "rounds": rounds,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "machine": platform.machine(),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


if __name__ == "__main__":
    main()
