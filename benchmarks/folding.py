"""What folding leaves of thirty architectures: batch norms, ONNX nodes, Core ML operations, at what time and error.

    OMP_NUM_THREADS=1 python benchmarks/folding.py --json benchmarks/folding.json

Each model has conditioned weights. Capture and folding are timed `--repeats` times, taking turns, each after a garbage
collection, so that neither pays for what the other leaves; the ratio is the median of the rounds' own. Folding is told
in its parts, the rewrites with their proofs and the proof of the whole; beside them stands what one forward of the
captured model alone takes in float64. The error is that of the whole folded model against the captured one in float64.
A bar that is missed is marked; the names of what is left of a batch norm stand under the table with the mathematics of
why. Rows are written as they come; those in the file are not measured again.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from fuseport.export.formats import to_coreml, to_onnx
from fuseport.export.request import Request
from fuseport.reparam import RULES, Folded, capture, driver, fold
from fuseport.reparam.proof import run_float64
from rich.progress import track
from timm_models import THIRTY, conditioned
from torch import Tensor, nn

ONNX_BARS = {
    "shvit_s4": 330,
    "swiftformer_l1": 240,
    "fastvit_t8": 92,
    "repvit_m0_9": 190,
    "efficientformerv2_s0": 215,
    "mobilenetv4_conv_small": 89,
}
COREML_BARS = {"shvit_s4": 320, "swiftformer_l1": 220}
TIME_BAR = 0.5
"""Folding over capture."""


@dataclass(frozen=True)
class Row:
    """One model. `left` has (place, reason) of each batch norm, or shift of one, that is no part of a layer.

    Seconds are medians, and `ratio`, of folding to capture, is the median of the rounds' own.
    """

    model: str
    norms_before: int
    norms_after: int
    left: tuple[tuple[str, str], ...]
    operators_before: int
    operators_after: int
    onnx_nodes: int | None
    coreml_operations: int | None
    rewrites: int
    worst_rewrite: float
    whole: float
    capture_s: float
    rewrites_s: float
    whole_s: float
    float64_s: float
    ratio: float


@dataclass(frozen=True)
class _Taken:
    """Seconds of one round."""

    capture: float
    rewrites: float
    whole: float
    float64: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=THIRTY)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--no-convert", action="store_true", help="fold only")
    parser.add_argument("--json", type=Path, help="write the figures here, and a table beside it as .md")
    options = parser.parse_args()
    rows = _known(options.json)
    for name in track([name for name in options.models if name not in {row.model for row in rows}]):
        rows.append(measure(name, options.repeats, convert=not options.no_convert))
        if options.json:
            write(options.json, rows, _conditions(options.repeats))
    print(table(rows))


def _known(path: Path | None) -> list[Row]:
    """The rows that an earlier run has written, in the form that they have now."""
    if path is None or not path.exists():
        return []
    names = {field.name for field in fields(Row)}
    rows = [row for row in json.loads(path.read_text())["rows"] if row.keys() == names]
    return [Row(**{**row, "left": tuple(map(tuple, row["left"]))}) for row in rows]


def write(path: Path, rows: Sequence[Row], conditions: dict[str, object]) -> None:
    """The figures as JSON, and a table beside it."""
    path.write_text(json.dumps({"rows": [asdict(row) for row in rows], "conditions": conditions}, indent=2) + "\n")
    told = ", ".join(f"{name} {value}" for name, value in conditions.items())
    path.with_suffix(".md").write_text(f"# What folding leaves\n\n{told}; processor time.\n\n{table(rows)}\n")


def measure(name: str, repeats: int, *, convert: bool) -> Row:
    module, picture = conditioned(name)
    result, taken = _timed(module, picture, repeats)
    onnx_nodes, coreml_operations = _converted(result.module, picture) if convert else (None, None)
    return Row(
        model=name,
        norms_before=result.before.batch_norms,
        norms_after=result.after.batch_norms,
        left=tuple((step.where, step.reason) for step in result.refusals),
        operators_before=result.before.nodes,
        operators_after=result.after.nodes,
        onnx_nodes=onnx_nodes,
        coreml_operations=coreml_operations,
        rewrites=len(result.rewrites),
        worst_rewrite=max((step.error for step in result.rewrites), default=0.0),
        whole=result.error,
        capture_s=statistics.median(times.capture for times in taken),
        rewrites_s=statistics.median(times.rewrites for times in taken),
        whole_s=statistics.median(times.whole for times in taken),
        float64_s=statistics.median(times.float64 for times in taken),
        ratio=statistics.median((times.rewrites + times.whole) / times.capture for times in taken),
    )


def _timed(module: nn.Module, picture: Tensor, repeats: int) -> tuple[Folded, list[_Taken]]:
    """The folded model, and the times of each round."""
    taken = []
    for _ in range(repeats):
        gc.collect()
        begin = time.process_time()
        captured = capture(module, (picture,))
        captured_s = time.process_time() - begin
        gc.collect()
        between = time.process_time()
        with _stopwatch() as whole:
            result = fold(captured, RULES)
        end = time.process_time()
        run_float64(captured, [picture])
        forward = time.process_time() - end
        taken.append(_Taken(captured_s, end - between - sum(whole), sum(whole), forward))
    return result, taken


@contextlib.contextmanager
def _stopwatch() -> Iterator[list[float]]:
    """The seconds that the proof of the whole takes, once it is over."""
    taken: list[float] = []
    measured = driver.deviation

    def deviation(*given: Any) -> float:
        begin = time.process_time()
        error = measured(*given)
        taken.append(time.process_time() - begin)
        return error

    driver.deviation = deviation
    try:
        yield taken
    finally:
        driver.deviation = measured


def _converted(folded: nn.Module, picture: Tensor) -> tuple[int, int]:
    """Nodes of the ONNX file and operations, constants aside, of the Core ML package."""
    program = torch.export.export(folded, (picture,), strict=False)
    with tempfile.TemporaryDirectory() as folder:
        counts = []
        for form in (to_onnx, to_coreml):
            target = Path(folder) / f"folded{form.SUFFIX}"
            made = form.convert(
                program, target, Request(), {}, input_names=("x",), output_names=("y",), export_id="folding"
            )
            counts.append(sum(made.operations.values()))
    return counts[0], counts[1]


def table(rows: Sequence[Row]) -> str:
    lines = [
        "| model | batch norms | shifts left | operators | ONNX nodes | Core ML operations | rewrites | worst of one "
        "| of the whole | rewrites + whole ÷ capture, s | one float64 forward ÷ capture |",
        "|---|" + "---|" * 10,
    ]
    lines += [f"| {' | '.join(_cells(row))} |" for row in rows]
    left = [f"- {row.model}, `{where}`: {reason}" for row in rows for where, reason in row.left]
    return "\n".join([*lines, *(["", "What is left, and why:", "", *left] if left else [])])


def _cells(row: Row) -> list[str]:
    parts = f"({row.rewrites_s:.2f} + {row.whole_s:.2f}) / {row.capture_s:.2f}"
    return [
        row.model,
        f"{row.norms_before} → {_held(row.norms_after, 0)}",
        str(len(row.left)),
        f"{row.operators_before} → {row.operators_after}",
        _held(row.onnx_nodes, ONNX_BARS.get(row.model)),
        _held(row.coreml_operations, COREML_BARS.get(row.model)),
        str(row.rewrites),
        f"{row.worst_rewrite:.0e}",
        f"{row.whole:.0e}",
        f"{parts} = {_held(round(row.ratio, 2), TIME_BAR)}",
        f"{row.float64_s / row.capture_s:.2f}",
    ]


def _held(figure: float | None, bar: float | None) -> str:
    if figure is None:
        return "–"
    return f"{figure} (bar {bar}{'' if figure <= bar else ', missed'})" if bar else str(figure)


def _conditions(repeats: int) -> dict[str, object]:
    packages = ("torch", "onnx", "onnxscript", "onnxsim", "coremltools", "timm")
    return {
        "repeats": repeats,
        "threads": torch.get_num_threads(),
        "processes that wanted a core": round(os.getloadavg()[1], 1),
        "machine": platform.machine(),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


if __name__ == "__main__":
    main()
