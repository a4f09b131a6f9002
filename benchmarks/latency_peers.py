"""ONNX Runtime on our files and on those of the best other route, one thread, taking turns call by call.

The routes, from one module with one set of conditioned weights:

- ours: capture, fold, `to_onnx.convert` with its defaults;
- timm: `reparameterize_model`, then `torch.onnx.export(dynamo=True)` with its defaults;
- timm+onnxsim: the same, then `onnxsim.simplify`;
- ours again: the very files of ours, which nothing but chance tells from them. Its ratio must be 1.

    python benchmarks/latency_peers.py --rounds 60 --sessions 6 --json benchmarks/latency_peers.json

Where the pages of a session come to lie makes up to one percent, so each file is opened several times, in an order
drawn by lot; each round runs every session once, in an order drawn anew. What counts is the time of the thread, which
others at work on the machine disturb least; the ratio in wall time stands beside it. A session's figure is its median
over the rounds, each call over the median of its round; a ratio is of the means over the sessions of each route, its
interval (95 %) from drawing rounds and sessions again.

The error is each file's against the unfolded module in float64, on so many random pictures, over the root mean square
of the output: the median and the worst of the pictures' largest deviations.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import onnxsim
import torch
from fuseport.export.formats import to_onnx
from fuseport.export.request import Request
from fuseport.reparam import RULES, capture, fold
from timm_models import conditioned, relative_error, reparameterized
from torch import Tensor, nn

MODELS = ("shvit_s4", "swiftformer_l1", "fastvit_t8", "repvit_m0_9", "efficientformerv2_s0", "mobilenetv4_conv_small")
OURS, AGAIN, PEERS = "ours", "ours again", ("timm", "timm+onnxsim")
RIVALS = (*PEERS, AGAIN)
PICTURES = 8
WARM_UP = 3
RESAMPLES = 2000

Pair = tuple[str, int]
"""A route and the number of one of its sessions."""


@dataclass(frozen=True)
class Ratio:
    """Ours over another route: processor time with its 95 % interval, and wall time."""

    thread: float
    low: float
    high: float
    wall: float


@dataclass(frozen=True)
class Row:
    """One model: per route median milliseconds of the thread, nodes, median and worst error; ours over each other."""

    model: str
    median_ms: dict[str, float]
    nodes: dict[str, int]
    error: dict[str, tuple[float, float]]
    ratio: dict[str, Ratio]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--sessions", type=int, default=6, help="how often each file is opened")
    parser.add_argument(
        "--json",
        type=Path,
        help="write the figures here after each model, those that are there kept, and a table beside",
    )
    parser.add_argument("--keep", type=Path, help="leave the ONNX files in this folder, and take those that are there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = _written(options.json)
    for name in options.models:
        rows[name] = _measure(name, options.rounds, options.sessions, options.keep)
        print(_table([rows[name]]), flush=True)
        if options.json:
            _write(options.json, [rows[name] for name in MODELS if name in rows], options.rounds, options.sessions)


def _written(path: Path | None) -> dict[str, Row]:
    """The rows of an earlier run, by model."""
    if path is None or not path.exists():
        return {}
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return {
        row["model"]: Row(**{**row, "ratio": {rival: Ratio(**ratio) for rival, ratio in row["ratio"].items()}})
        for row in rows
    }


def _write(path: Path, rows: Sequence[Row], rounds: int, sessions: int) -> None:
    figures = {"rows": [asdict(row) for row in rows], "conditions": conditions(rounds, sessions)}
    path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(_table(rows) + "\n", encoding="utf-8")


def _measure(name: str, rounds: int, sessions: int, keep: Path | None) -> Row:
    module, picture = conditioned(name)
    with tempfile.TemporaryDirectory() as scratch:
        folder = (keep or Path(scratch)) / name
        folder.mkdir(parents=True, exist_ok=True)
        files = files_of(module, picture, folder)
        nodes = {route: len(onnx.load(path, load_external_data=False).graph.node) for route, path in files.items()}
        opened = _opened({**files, AGAIN: files[OURS]}, sessions)
    thread, wall = _take_turns(opened, picture.numpy(), rounds)
    return Row(
        model=name,
        median_ms={route: round(float(np.median(thread[route])), 3) for route in (OURS, *PEERS)},
        nodes=nodes,
        error=_errors(module, picture.shape, {route: opened[route, 0] for route in (OURS, *PEERS)}),
        ratio={rival: _ratio(thread, wall, rival) for rival in RIVALS},
    )


def files_of(module: nn.Module, picture: Tensor, folder: Path) -> dict[str, Path]:
    """The ONNX file of each route; those that the folder has already are left as they are."""
    paths = {route: folder / f"{route}.onnx" for route in (OURS, *PEERS)}
    if not paths[OURS].exists():
        folded = fold(capture(module, (picture,)), RULES).module
        program = torch.export.export(folded, (picture,), strict=False)
        to_onnx.convert(program, paths[OURS], Request(), {}, input_names=("x",), output_names=("y",), export_id=OURS)
    if not paths["timm"].exists():
        with redirect_stdout(io.StringIO()):
            torch.onnx.export(
                reparameterized(module), (picture,), paths["timm"], dynamo=True, external_data=False, verbose=False
            )
        simplified, _ = onnxsim.simplify(onnx.load(paths["timm"]))
        onnx.save(simplified, paths["timm+onnxsim"])
    return paths


def _opened(files: Mapping[str, Path], sessions: int) -> dict[Pair, onnxruntime.InferenceSession]:
    """Each file so many times on one thread, opened in an order drawn by lot."""
    pairs = [(route, number) for route in files for number in range(sessions)]
    random.Random(0).shuffle(pairs)
    return {pair: _session(files[pair[0]]) for pair in pairs}


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _take_turns(
    opened: Mapping[Pair, onnxruntime.InferenceSession], picture: np.ndarray, rounds: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Milliseconds of the thread and of the clock, per route (rounds, sessions)."""
    pairs, lot = list(opened), random.Random(1)
    names = {pair: session.get_inputs()[0].name for pair, session in opened.items()}
    shape = (rounds, 1 + max(number for _, number in pairs))
    thread, wall = ({route: np.empty(shape) for route, _ in pairs} for _ in range(2))
    for turn in range(-WARM_UP, rounds):
        lot.shuffle(pairs)
        for pair in pairs:
            clock, begin = time.perf_counter(), time.thread_time()
            opened[pair].run(None, {names[pair]: picture})
            end, late = time.thread_time(), time.perf_counter()
            if turn >= 0:
                route, number = pair
                thread[route][turn, number], wall[route][turn, number] = 1e3 * (end - begin), 1e3 * (late - clock)
    return thread, wall


def _ratio(thread: Mapping[str, np.ndarray], wall: Mapping[str, np.ndarray], rival: str) -> Ratio:
    calm, clock = ([_per_round(times)[route] for route in (OURS, rival)] for times in (thread, wall))
    draw, drawn = np.random.default_rng(0), []
    rounds, sessions = calm[0].shape
    for _ in range(RESAMPLES):
        again = draw.integers(rounds, size=rounds)
        drawn.append(_of_means([route[again][:, draw.integers(sessions, size=sessions)] for route in calm]))
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Ratio(*(round(float(value), 4) for value in (_of_means(calm), low, high, _of_means(clock))))


def _per_round(times: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Each call over the median of all calls of its round: drift of the machine cancels."""
    centre = np.median(np.concatenate(list(times.values()), axis=1), axis=1, keepdims=True)
    return {route: values / centre for route, values in times.items()}


def _of_means(routes: Sequence[np.ndarray]) -> float:
    ours, other = (float(np.median(route, axis=0).mean()) for route in routes)
    return ours / other


def _errors(
    module: nn.Module, shape: Sequence[int], sessions: Mapping[str, onnxruntime.InferenceSession]
) -> dict[str, tuple[float, float]]:
    """Per route the median and the largest, over the pictures, of the largest deviation from the module in float64."""
    module.double()
    found: dict[str, list[float]] = {route: [] for route in sessions}
    for seed in range(PICTURES):
        picture = torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            truth = module(picture.double())
        for route, session in sessions.items():
            (output,) = session.run(None, {session.get_inputs()[0].name: picture.numpy()})
            found[route].append(relative_error(truth, torch.from_numpy(np.asarray(output))))
    module.float()
    return {route: (float(np.median(errors)), max(errors)) for route, errors in found.items()}


def _table(rows: Sequence[Row]) -> str:
    titles = ["model", f"ms: {OURS}", *PEERS, *(f"{OURS} / {rival}" for rival in RIVALS), "nodes", "error", "worst"]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for row in rows:
        cells = [row.model, *(f"{row.median_ms[route]:.2f}" for route in (OURS, *PEERS))]
        cells += [_told(row.ratio[rival]) for rival in RIVALS]
        cells += [" / ".join(str(row.nodes[route]) for route in (OURS, *PEERS))]
        cells += [" / ".join(f"{row.error[route][which]:.1e}" for route in (OURS, *PEERS)) for which in (0, 1)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _told(ratio: Ratio) -> str:
    return f"**{ratio.thread:.3f}** ({ratio.low:.3f} to {ratio.high:.3f}; wall {ratio.wall:.3f})"


def conditions(rounds: int, sessions: int) -> dict[str, object]:
    packages = ("torch", "onnx", "onnxruntime", "onnxsim", "onnxscript", "timm", "numpy")
    return {
        "rounds": rounds,
        "sessions": sessions,
        "pictures": PICTURES,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "machine": platform.machine(),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


if __name__ == "__main__":
    main()
