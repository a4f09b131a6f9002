"""The seed's table of token reduction, row by row: what it costs, what is left, and what it brings on this machine.

    python benchmarks/token_reduction.py --size l16 --output-dir out
    python benchmarks/token_reduction.py --size b16 --rows first --backend torch --backend onnx --threads 1
    python benchmarks/token_reduction.py --size l16 --backend torch --backend onnx --threads 2 --samples 3 --minutes 9

For every published row: GFLOPs in the seed's counting beside the claim, the tokens that each layer works on, and the
latency at batch 1 over that of the plain ViT, in PyTorch and in ONNX Runtime, timed interleaved with it. `--clock
processor` counts the processor's time instead of the wall's: with one thread the same on a quiet machine, and hardly
moved by what else runs on a busy one. `--throughput` adds pictures per second at a batch, in float32 and float16, on
the device that `--device` names.

All rows of a size share one set of conditioned weights. Writes token_reduction_SIZE.json, .md and .svg (cost against
tokens) after each row. A row that was timed under the same conditions is not timed again, so a long run can be made in
pieces: after `--minutes` no further row is begun, and the same command goes on.

GFLOPs count the method as its authors run it. The timed models are the static forms: ACT and ATS save nothing there.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

import torch
from fuseport.export.formats import to_onnx
from fuseport.export.request import Request
from fuseport.models.conditioned import drawn_pictures, fill_conditioned_
from fuseport.models.swag import build
from fuseport.models.swag_cost import choice_counts, implied_count, seed_cost
from fuseport.models.swag_rows import ROWS, Row
from fuseport.models.swag_vit import SIZES, SwagViT
from fuseport.models.tokens import create
from fuseport.validate.latency import Latency
from fuseport.validate.measure import Plan, measure

DEPENDENT = ("act", "ats")
CLOCKS = {"wall": time.perf_counter_ns, "processor": time.process_time_ns}
DTYPES = {"float32": torch.float32, "float16": torch.float16}


@dataclass
class Result:
    """One row of the table; times in ms, `ratio` over the plain ViT (above 1 is slower)."""

    method: str
    preset: str
    claimed_gflops: str
    gflops: float
    agrees: bool | None
    """None where picture and weights decide."""
    statement: str
    tokens: tuple[int, ...]
    """What the attention of each layer works on."""
    token_share: float
    """The mean of these over the layers, as a share of all tokens."""
    latency_ms: dict[str, float] = field(default_factory=dict)
    ratio: dict[str, float] = field(default_factory=dict)
    spread: dict[str, float] = field(default_factory=dict)
    pictures_per_second: dict[str, float] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return "none" if self.method == "none" else f"{self.method} {self.preset}"

    @property
    def slower(self) -> list[str]:
        return [backend for backend, ratio in self.ratio.items() if ratio > 1.0 and self.method != "none"]


# ---- the models -----------------------------------------------------------------------------------------------------


def weighted(size: str) -> SwagViT:
    """The plain ViT of that size with conditioned weights."""
    model = build(SIZES[size], "none").eval()
    fill_conditioned_(model, 0)
    return model


def with_method(model: SwagViT, row: Row) -> SwagViT:
    """The same network, weights shared, with the row's method."""
    twin = copy.copy(model)
    twin._modules = {**model._modules, "reduction": create(row.method, model.shape, **row.options)}
    return twin


def rows_of(size: str, which: str) -> list[Row]:
    """All rows of a size, or the first of each method; the plain ViT in front."""
    rows = [row for row in ROWS if row.size == size]
    return (
        rows
        if which == "all"
        else [next(r for r in rows if r.method == m) for m in dict.fromkeys(r.method for r in rows)]
    )


# ---- cost -----------------------------------------------------------------------------------------------------------


def costed(row: Row, model: SwagViT, picture: torch.Tensor | None) -> Result:
    """The row without its times; with a picture, what ACT and ATS choose on it is counted."""
    dependent = row.method in DEPENDENT
    counted = choice_counts(model, picture) if dependent and picture is not None else ()
    cost = seed_cost(model, counted)
    decimals = len(row.gflops.partition(".")[2])
    statement = cost.statement
    if dependent and row.gflops:
        statement += f"; the claim means {implied_count(model, float(row.gflops))}"
    agrees = None if dependent or not row.gflops else f"{cost.gflops:.{decimals}f}" == row.gflops
    tokens = tuple(layer.tokens_through for layer in cost.layers)
    share = sum(tokens) / len(tokens) / model.shape.tokens
    return Result(row.method, row.preset, row.gflops, cost.gflops, agrees, statement, tokens, share)


# ---- time -----------------------------------------------------------------------------------------------------------


def timed(runners: dict[str, Callable[[], object]], options: argparse.Namespace) -> dict[str, Latency]:
    return measure(
        runners,
        threads=options.threads,
        batch=1,
        plan=Plan(warmup=options.warmup, min_samples=options.samples, max_seconds=0.0),
        clock=CLOCKS[options.clock],
    )


def torch_runner(model: SwagViT, picture: torch.Tensor) -> Callable[[], object]:
    def call() -> object:
        with torch.inference_mode():
            return model(picture)

    return call


def onnx_runner(model: SwagViT, picture: torch.Tensor, folder: Path, name: str, threads: int) -> Callable[[], object]:
    """A session on the exported model; the file is written below `folder`."""
    program = torch.export.export(model, (picture,), strict=False)
    artifact = to_onnx.convert(
        program,
        folder / f"{name}.onnx",
        Request(external_data=True, simplify=False),
        {},
        input_names=("image",),
        output_names=("logits",),
        export_id="benchmark",
    )
    run, feed = to_onnx.runner(artifact, threads=threads), {"image": picture.numpy()}
    return lambda: run(feed)


def time_rows(results: list[Result], models: list[SwagViT], picture: torch.Tensor, options: argparse.Namespace) -> None:
    """Each row that has no times yet, in turn with the plain ViT; written at once. Stops after `options.minutes`.

    The first row of each method comes before the others: a run that is cut short has seen all methods.
    """
    deadline = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory() as folder:
        plain: dict[str, Callable[[], object]] = {}
        for result, model in methods_first(list(zip(results[1:], models[1:], strict=True))):
            if set(options.backend) <= result.ratio.keys():
                continue
            if time.monotonic() > deadline:
                left = sum(not set(options.backend) <= other.ratio.keys() for other in results[1:])
                print(f"{left} rows are left: run the same command again", flush=True)
                return
            plain = plain or runners(models[0], picture, Path(folder), options)
            with tempfile.TemporaryDirectory() as own:
                time_row(result, results[0], runners(model, picture, Path(own), options), plain, options)
            write(results, options)
            print(result.label, {name: round(ratio, 3) for name, ratio in result.ratio.items()}, flush=True)


def methods_first(rows: list[tuple[Result, SwagViT]]) -> list[tuple[Result, SwagViT]]:
    firsts = {result.method: (result, model) for result, model in reversed(rows)}
    return [*reversed(firsts.values()), *(row for row in rows if row not in firsts.values())]


def runners(
    model: SwagViT, picture: torch.Tensor, folder: Path, options: argparse.Namespace
) -> dict[str, Callable[[], object]]:
    """A call of the model in each backend that was asked for."""
    made: dict[str, Callable[[], object]] = {}
    if "torch" in options.backend:
        made["torch"] = torch_runner(model, picture)
    if "onnx" in options.backend:
        made["onnx"] = onnx_runner(model, picture, folder, "model", options.threads)
    return made


def time_row(
    result: Result,
    none: Result,
    own: dict[str, Callable[[], object]],
    plain: dict[str, Callable[[], object]],
    options: argparse.Namespace,
) -> None:
    """The row and the plain ViT sample by sample in turn, all backends together."""
    both = {f"{name} {backend}": run for name, of in (("own", own), ("plain", plain)) for backend, run in of.items()}
    latency = timed(both, options)
    for backend in own:
        mine, theirs = latency[f"own {backend}"], latency[f"plain {backend}"]
        result.latency_ms[backend], result.spread[backend] = mine.median_ms, mine.spread
        result.ratio[backend] = mine.median_ms / theirs.median_ms
        none.latency_ms.setdefault(backend, theirs.median_ms)
        none.ratio.setdefault(backend, 1.0)


def throughput(results: list[Result], models: list[SwagViT], options: argparse.Namespace) -> None:
    """Pictures per second at a batch, float32 and float16; SMYRF mixes the pictures of a batch (see its file)."""
    device = torch.device(options.device)
    for name, dtype in DTYPES.items():
        for result, model in zip(results, models, strict=True):
            ready = copy.deepcopy(model).to(device, dtype)
            side = model.image_size
            batch = torch.rand(options.batch, 3, side, side, device=device, dtype=dtype)
            result.pictures_per_second[name] = options.batch / seconds(torch_runner(ready, batch), device)


def seconds(call: Callable[[], object], device: torch.device, calls: int = 10) -> float:
    """Mean time of a call, the device waited for before and after."""
    wait = torch.cuda.synchronize if device.type == "cuda" else (lambda: None)
    for _ in range(3):
        call()
    wait()
    start = time.perf_counter()
    for _ in range(calls):
        call()
    wait()
    return (time.perf_counter() - start) / calls


# ---- what is written ------------------------------------------------------------------------------------------------


def markdown(results: list[Result], conditions: dict[str, object]) -> str:
    backends = list(dict.fromkeys(backend for result in results for backend in result.latency_ms))
    dtypes = list(dict.fromkeys(name for result in results for name in result.pictures_per_second))
    head = ["row", "GFLOPs", "claimed", "agrees", "tokens in the last layer", "mean share of tokens"]
    head += [f"{backend} ms (ratio)" for backend in backends] + [f"pictures/s {name}" for name in dtypes]
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for result in results:
        agrees = (
            {None: "depends on the picture", True: "yes", False: "NO"}[result.agrees] if result.claimed_gflops else ""
        )
        cells = [result.label, f"{result.gflops:.3f}", result.claimed_gflops, agrees]
        cells += [str(result.tokens[-1]), f"{result.token_share:.2f}"]
        cells += [timing(result, backend) for backend in backends]
        cells += [f"{result.pictures_per_second[name]:.1f}" if result.pictures_per_second else "" for name in dtypes]
        lines.append(f"| {' | '.join(cells)} |")
    slower = [f"{r.label} ({', '.join(r.slower)})" for r in results if r.slower]
    lines += ["", "Slower than no reduction at all: " + ("; ".join(slower) or "none that was timed") + ".", ""]
    lines += [f"- {result.label}: {result.statement}" for result in results if result.statement]
    lines += ["", "Conditions: " + ", ".join(f"{key} {value}" for key, value in conditions.items()) + "."]
    return "\n".join(lines) + "\n"


def timing(result: Result, backend: str) -> str:
    if backend not in result.latency_ms:
        return ""
    slower = " **slower**" if backend in result.slower else ""
    return f"{result.latency_ms[backend]:.0f} ({result.ratio.get(backend, 1.0):.2f}){slower}"


COLOURS: dict[str, str] = dict(zip(("none", "hourglass", "evit", "tome", "act", "ats", "evo", "smyrf"), (
    "#000000", "#1b9e77", "#d95f02", "#7570b3", "#e7298a", "#66a61e", "#e6ab02", "#a6761d"), strict=True))  # fmt: skip


def plot(results: list[Result]) -> str:
    """An SVG: share of tokens kept (x) against the cost relative to the plain ViT (y)."""
    width, height, margin = 640, 420, 50
    top = max(1.1, *(result.gflops / results[0].gflops for result in results))

    def place(result: Result) -> tuple[float, float]:
        x = margin + result.token_share * (width - 2 * margin)
        return x, height - margin - result.gflops / results[0].gflops / top * (height - 2 * margin)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<path d="M{margin} {margin}V{height - margin}H{width - margin}" fill="none" stroke="black"/>',
        f'<text x="{width / 2}" y="{height - 12}" text-anchor="middle">mean share of tokens</text>',
        f'<text transform="translate(16 {height / 2}) rotate(-90)" text-anchor="middle">GFLOPs over plain ViT</text>',
    ]
    for tick in (0.25, 0.5, 0.75, 1.0):
        x, y = margin + tick * (width - 2 * margin), height - margin - tick / top * (height - 2 * margin)
        parts.append(f'<text x="{x:.0f}" y="{height - margin + 16}" font-size="11" text-anchor="middle">{tick}</text>')
        parts.append(f'<text x="{margin - 6}" y="{y + 4:.0f}" font-size="11" text-anchor="end">{tick}</text>')
    for result in results:
        x, y = place(result)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{COLOURS[result.method]}"/>')
        parts.append(f'<text x="{x + 6:.1f}" y="{y + 4:.1f}" font-size="9">{result.label}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def conditions(options: argparse.Namespace) -> dict[str, object]:
    machine = platform.processor() or platform.machine()
    versions = {name: version(name) for name in ("torch", "onnxruntime")}
    return {
        "size": options.size,
        "machine": machine,
        "threads": options.threads,
        "samples": options.samples,
        "clock": options.clock,
        **versions,
    }


def take_up(results: list[Result], options: argparse.Namespace) -> None:
    """Give the rows the times that an earlier call wrote. Ends the run if that one had other conditions."""
    file = options.output_dir / f"token_reduction_{options.size}.json"
    if not file.exists():
        return
    earlier = json.loads(file.read_text())
    if earlier["conditions"] != conditions(options):
        raise SystemExit(f"{file} was measured under other conditions: {earlier['conditions']}; take another folder")
    rows = {(row["method"], row["preset"]): row for row in earlier["rows"]}
    for result in results:
        row = rows.get((result.method, result.preset), {})
        for timed_field in ("latency_ms", "ratio", "spread", "pictures_per_second"):
            getattr(result, timed_field).update(row.get(timed_field, {}))


def write(results: list[Result], options: argparse.Namespace) -> None:
    options.output_dir.mkdir(parents=True, exist_ok=True)
    stem, told = options.output_dir / f"token_reduction_{options.size}", conditions(options)
    rows = [{**asdict(result), "slower_than_none": result.slower} for result in results]
    stem.with_suffix(".json").write_text(json.dumps({"conditions": told, "rows": rows}, indent=1) + "\n")
    stem.with_suffix(".md").write_text(markdown(results, told))
    stem.with_suffix(".svg").write_text(plot(results))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=list(SIZES), default="l16")
    parser.add_argument("--rows", choices=("all", "first"), default="all", help="first: the first row of each method")
    parser.add_argument("--backend", action="append", choices=("torch", "onnx"), default=[], help="time it here")
    parser.add_argument("--count", action="store_true", help="run ACT and ATS on a picture and count what they choose")
    parser.add_argument("--throughput", action="store_true", help="pictures per second on --device as well")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=32, help="of the throughput")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="processor: for a machine that others use too")
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=1e6, help="begin no further row after this time")
    parser.add_argument("--output-dir", type=Path, default=Path("out"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    rows = rows_of(options.size, options.rows)
    needs_weights = options.backend or options.count or options.throughput
    with torch.device("cpu" if needs_weights else "meta"):
        plain = weighted(options.size) if needs_weights else build(SIZES[options.size], "none").eval()
    models = [with_method(plain, row) for row in rows]
    picture = drawn_pictures((1, 3, plain.image_size, plain.image_size)).float()
    results = [costed(row, model, picture if options.count else None) for row, model in zip(rows, models, strict=True)]
    take_up(results, options)
    write(results, options)
    if options.backend:
        time_rows(results, models, picture, options)
    if options.throughput:
        throughput(results, models, options)
    write(results, options)
    print(markdown(results, conditions(options)))


if __name__ == "__main__":
    main()
