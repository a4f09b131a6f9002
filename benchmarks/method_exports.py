"""The seven token-reduction methods on ViT-B/16 at full size: each exported to ONNX and to Core ML, with parity.

    python benchmarks/method_exports.py --json benchmarks/method_exports.json

Each export has a process of its own, with conditioned weights and one check picture. The table has the verdict, the
largest relative L2 error of the logits over the engines, the least share of equal labels in the outputs that say what
was chosen, the time, and the largest resident memory, libraries included. Rows are written as they come, beside a
Markdown file of the same name; rows that are there already are not measured again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from big_models import GIB, peak_bytes

METHODS = ("hourglass_vit", "e_vit", "tome_vit", "act_vit", "smyrf_vit", "ats_vit", "evo_vit")
FORMATS = ("onnx", "coreml")
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path("method_exports.json"))
    parser.add_argument("--only", nargs="*", default=[], help="names of variants")
    parser.add_argument("--alone", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(exported(*options.alone)))
        return
    rows: list[Row] = json.loads(options.json.read_text()) if options.json.exists() else []
    for form in FORMATS:
        for name in options.only or [f"{method}_b16_in1k" for method in METHODS]:
            if not any((row["variant"], row["format"]) == (name, form) for row in rows):
                rows.append(measured(name, form))
                options.json.write_text(json.dumps(rows, indent=1) + "\n")
                options.json.with_suffix(".md").write_text(markdown(rows))
                print(rows[-1], flush=True)


def measured(name: str, form: str) -> Row:
    """One export in a process of its own, and how it ended."""
    command = [sys.executable, __file__, "--alone", name, form]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        lines = ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"]
        return {"variant": name, "format": form, "outcome": "failed", "reason": lines[-1]}
    return {"variant": name, "format": form, **json.loads(ended.stdout.splitlines()[-1])}


def exported(name: str, form: str) -> Row:
    """Export the variant with what it chose among its outputs, and read the report."""
    from fuseport.export.job import Checks, Job, Source
    from fuseport.export.pipeline import export
    from fuseport.export.request import Request

    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        source = Source(name, model_args={"choices": True})
        report = export(Job(source, (form,), Request(), Checks(samples=1), output_dir=Path(folder)))
    checks = [check.parity for result in report.results for check in result.checks]
    outputs = [output for parity in checks for output in getattr(parity, "outputs", ())]
    return {
        "outcome": report.outcome,
        "reason": report.reason,
        "error": max(output.relative_l2 for output in outputs if output.name == "logits"),
        "overlap": min((output.overlap for output in outputs if output.overlap is not None), default=None),
        "operations": report.results[0].artifact.operation_count,
        "seconds": round(time.perf_counter() - begin),
        "peak_gib": peak_bytes() / GIB,
    }


def markdown(rows: Sequence[Row]) -> str:
    lines = [
        "ViT-B/16 at 384 pixels, conditioned weights, one picture; choices are outputs of the methods' files.",
        "",
        "| variant | format | outcome | error of the logits | equal choices | operations | seconds | peak GiB |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [_line(row) for row in rows]
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "onnx", "onnxruntime", "coremltools"))
    return "\n".join([*lines, "", versions, ""])


def _line(row: Row) -> str:
    if "error" not in row:
        return f"| {row['variant']} | {row['format']} | failed: {row['reason']} | | | | | |"
    overlap = "" if row["overlap"] is None else f"{row['overlap']:.2%}"
    figures = f"{row['operations']} | {row['seconds']} | {row['peak_gib']:.2f}"
    return f"| {row['variant']} | {row['format']} | {row['outcome']} | {row['error']:.1e} | {overlap} | {figures} |"


if __name__ == "__main__":
    main()
