"""Peak memory of an export of a big model, ours with all checks beside the bare converters without any.

    python benchmarks/big_models.py --variant vit_l16_in1k --output-dir out
    python benchmarks/big_models.py --variant vit_h14_in1k --format onnx --samples 1

Each run has a process of its own; its peak is the largest resident memory that the kernel noted for it (`ru_maxrss`),
Python, its libraries and mapped files included, in GiB and as a multiple of the float32 weights. For ours the peak of
each stage is given as well (on Linux, where the kernel's mark can be set back, without what came before), and told on
the standard error as the stage ends. Weights are conditioned in every run. Writes big_models_VARIANT.json and .md; a
run of one side or format replaces its own row.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

FORMATS = ("onnx", "coreml")
GIB = 2**30


def peak_bytes() -> int:
    """The largest resident memory of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def set_mark_back() -> None:
    """Let the kernel note the largest resident memory from here on."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


# ---- what runs in a process of its own ------------------------------------------------------------------------------


def ours(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The whole pipeline for one format: load, capture, fold, convert, check."""
    from fuseport.export.job import Checks, Job, Source
    from fuseport.export.pipeline import export
    from fuseport.export.request import Request

    peaks: list[tuple[str, float]] = []
    reached = {"stage": "import"}

    def announce(stage: str) -> None:
        peaks.append((reached["stage"], peak_bytes() / GIB))
        print(*peaks[-1], file=sys.stderr, flush=True)
        reached["stage"] = stage
        set_mark_back()

    source = Source(options.variant, image_size=options.image_size)
    job = Job(source, (options.format,), Request(), Checks(samples=options.samples), output_dir=folder)
    report = export(job, announce=announce)
    announce("end")
    checks = {check.engine: check.parity.reason for result in report.results for check in result.checks}
    return {"outcome": report.outcome, "stages": peaks, "checks": checks}


def bare(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The converter alone, on the same weights: torch.export, then torch.onnx.export or coremltools.convert."""
    import torch
    from fuseport.models.loaded import load

    loaded = load(options.variant, image_size=options.image_size)
    assert loaded.preprocessing is not None
    module, side = loaded.module, loaded.preprocessing.size
    program = torch.export.export(module, (torch.zeros(1, 3, side, side),), strict=False)
    if options.format == "onnx":
        written = torch.onnx.export(program, verbose=False)
        assert written is not None
        written.save(folder / "model.onnx", external_data=True)
    else:
        import coremltools as ct

        legal: Any = program.run_decompositions({})
        ct.convert(
            legal,
            minimum_deployment_target=ct.target.iOS16,
            package_dir=str(folder / "m.mlpackage"),
            skip_model_load=True,
        )
    return {}


RUNS: dict[str, Callable[[argparse.Namespace, Path], dict[str, Any]]] = {"ours": ours, "bare": bare}


def alone(options: argparse.Namespace) -> None:
    """One run, its figures as the last line of the output."""
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        found = RUNS[options.alone](options, Path(folder))
    seconds = round(time.perf_counter() - begin)
    peak = max([peak_bytes() / GIB, *(gib for _, gib in found.get("stages", ()))])
    print(json.dumps({"peak_gib": peak, "seconds": seconds, **found}))


# ---- the table ------------------------------------------------------------------------------------------------------


def measured(options: argparse.Namespace, run: str, form: str) -> dict[str, Any]:
    """One run in a process of its own. Raises RuntimeError if it ends badly."""
    words = [sys.executable, __file__, "--alone", run, "--format", form, "--variant", options.variant]
    words += ["--samples", str(options.samples)]
    words += ["--scratch", options.scratch] if options.scratch else []
    words += ["--image-size", str(options.image_size)] if options.image_size else []
    ended = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"{run} {form} ended with exit code {ended.returncode}")
    return {"run": run, "format": form, **json.loads(ended.stdout.splitlines()[-1])}


def markdown(rows: list[dict[str, Any]], weights_gib: float, options: argparse.Namespace) -> str:
    lines = [
        f"{options.variant}: {weights_gib:.2f} GiB of float32 weights, {options.samples} check picture(s)",
        "",
        "| run | format | peak GiB | × weights | seconds | outcome |",
        "| --- | --- | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        ratio, outcome = row["peak_gib"] / weights_gib, row.get("outcome", "conversion alone")
        figures = f"{row['peak_gib']:.2f} | {ratio:.2f} | {row['seconds']}"
        lines.append(f"| {row['run']} | {row['format']} | {figures} | {outcome} |")
    for row in rows:
        stages = ", ".join(f"{stage} {gib:.2f}" for stage, gib in row.get("stages", ()))
        lines += ["", f"Peak of each stage, {row['format']}: {stages}."] if stages else []
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "onnx", "onnxruntime", "coremltools"))
    return "\n".join([*lines, "", versions, ""])


def before(file: Path) -> list[dict[str, Any]]:
    """The rows of an earlier call, so that the sides can be measured one by one."""
    return json.loads(file.read_text())["rows"] if file.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", default="vit_l16_in1k")
    parser.add_argument("--format", choices=FORMATS, help="one format alone")
    parser.add_argument("--run", choices=RUNS, help="ours or the bare converter alone")
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--image-size", type=int, help="smaller pictures for a quick look (the variant's own size)")
    parser.add_argument("--scratch", help="a folder with room for the files (the system's)")
    parser.add_argument("--output-dir", type=Path, default=Path("out"))
    parser.add_argument("--alone", choices=RUNS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        alone(options)
        return
    from fuseport import models

    weights_gib = models.find(options.variant).parameters * 4 / GIB
    options.output_dir.mkdir(parents=True, exist_ok=True)
    stem = options.output_dir / f"big_models_{options.variant}"
    rows = before(stem.with_suffix(".json"))
    for form in [options.format] if options.format else FORMATS:
        for run in [options.run] if options.run else RUNS:
            rows = [row for row in rows if (row["run"], row["format"]) != (run, form)]
            rows.append(measured(options, run, form))
            stem.with_suffix(".json").write_text(
                json.dumps({"weights_gib": weights_gib, "rows": rows}, indent=1) + "\n"
            )
            stem.with_suffix(".md").write_text(markdown(rows, weights_gib, options))
            print(rows[-1], flush=True)


if __name__ == "__main__":
    main()
