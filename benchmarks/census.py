"""The smallest variant of every timm family through the whole exporter: captured, folded, ONNX, Core ML, each proven.

    python benchmarks/census.py                     # what has no row yet; interrupt it and go on as often as you like
    python benchmarks/census.py --redo failed       # the families that did not pass, again
    python benchmarks/census.py --redo old          # the families whose row another commit has written, again
    python benchmarks/census.py --only xcit,cait    # these

A family is a file of `timm.models`; its smallest variant is the one with the fewest parameters at its own input size
(timm's `test_…` models left out). Weights are conditioned. A model passes when `torch.export` captures it, every
rewrite is proven, and ONNX Runtime and the executor of ML Programs (float16, exact and declared) compute what the
unfolded model computes. Each model runs in a process of its own, with limits of time and memory. Rows are kept in
`census.json`; `census.md` is written from them after each model.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import argparse
import contextlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
ROWS, TABLE, SMALLEST = HERE / "census.json", HERE / "census.md", HERE / "census_smallest.json"
STAGES = ("load", "capture", "fold", "onnx", "onnx parity", "coreml", "coreml parity")
PACKAGES = ("torch", "timm", "coremltools", "onnx", "onnxruntime")


@dataclass
class Row:
    """What became of one family. `stages` has "ok" or the reason why not; what was not reached is missing."""

    family: str
    variant: str
    pixels: int = 0
    stages: dict[str, str] = field(default_factory=dict)
    operators: tuple[int, int] = (0, 0)
    batch_norms: tuple[int, int] = (0, 0)
    operations: dict[str, int] = field(default_factory=dict)
    errors: dict[str, float | None] = field(default_factory=dict)
    """Engine → worst relative L2 error of an output; `floor` is that of float32 PyTorch."""
    seconds: float = 0.0
    gib: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)
    """Package → its version; `fuseport` → the commit that wrote the row, missing in rows that are older."""
    day: str = ""

    @property
    def captured(self) -> bool:
        return self.stages.get("capture") == "ok"

    @property
    def converted(self) -> bool:
        """Whether all passed but, maybe, the parity of the Core ML package in float16."""
        return all(self.stages.get(stage) == "ok" for stage in STAGES if stage != "coreml parity")

    @property
    def passed(self) -> bool:
        return all(self.stages.get(stage) == "ok" for stage in STAGES)

    @property
    def failure(self) -> tuple[str, str]:
        """The first stage that did not pass, and why; empty for a family that passed."""
        for stage in STAGES:
            if self.stages.get(stage) != "ok":
                return stage, self.stages.get(stage, "not reached")
        return "", ""


# ---- one model, in a process of its own ----------------------------------------------------------------------------


def examine(variant: str, out: Path) -> None:
    """Run one variant through all stages, writing the row after each, so that a killed process leaves its account."""
    import torch

    torch.set_num_threads(1)
    family, name = variant.split("=")
    versions = {package: version(package) for package in PACKAGES} | {"fuseport": commit()}
    row = Row(family, name, versions=versions, day=time.strftime("%Y-%m-%d"))
    begin = time.monotonic()

    def keep() -> None:
        row.seconds = round(time.monotonic() - begin, 1)
        row.gib = round(_peak_gib("self"), 2)
        out.write_text(json.dumps(asdict(row)), encoding="utf-8")

    keep()
    with tempfile.TemporaryDirectory() as folder:
        for stage in _stages(row, Path(folder)):
            row.stages[stage] = "ok"
            keep()
    keep()


def _stages(row: Row, folder: Path) -> Iterator[str]:
    """Do one stage after the other, yielding its name when it is through; what fails is noted in the row."""
    from fuseport.export import FORMATS
    from fuseport.export.job import Checks, Job, Source
    from fuseport.export.program import prepare
    from fuseport.export.proof.check import check, explained, yardstick
    from fuseport.export.request import Request
    from fuseport.export.stages import Stages
    from fuseport.export.subject import subject
    from fuseport.reparam import CaptureError

    job = Job(Source(variant=f"timm/{row.variant}"), tuple(FORMATS), Request(), Checks(samples=2))
    try:
        taken = subject(job)
    except Exception as error:
        row.stages["load"] = _said(error)
        return
    row.pixels = next(iter(taken.feed.values())).shape[-1]
    yield "load"
    try:
        prepared = prepare(taken, job, Stages())
    except CaptureError as error:
        row.stages["capture"] = _said(error)
        return
    except Exception as error:
        row.stages |= {"capture": "ok", "fold": _said(error)}
        return
    folded = prepared.folded
    row.operators = folded.before.nodes, folded.after.nodes
    row.batch_norms = folded.before.batch_norms, folded.after.batch_norms
    yield "capture"
    yield "fold"
    ours = yardstick(taken, folded, prepared.captured, {"float32", "float16"})
    for name, form in FORMATS.items():
        try:
            artifact = form.convert(
                prepared.program,
                folder / f"model{form.SUFFIX}",
                job.request,
                {},
                input_names=taken.input_names,
                output_names=taken.output_names,
                export_id="census",
            )
        except Exception as error:
            row.stages[name] = _said(error)
            continue
        row.operations[name] = artifact.operation_count
        yield name
        verdicts = {}
        for result in explained(check(artifact, taken, ours, job.checks), artifact, taken, prepared.program):
            verdicts[result.engine] = getattr(result.parity, "verdict", "not run"), result.parity.reason
            for output in getattr(result.parity, "outputs", ()):
                row.errors[result.engine] = max(output.relative_l2 or 0.0, row.errors.get(result.engine) or 0.0)
                row.errors["floor"] = output.floor
        wrong = [f"{engine}: {verdict}: {why}" for engine, (verdict, why) in verdicts.items() if verdict != "passed"]
        if wrong:
            row.stages[f"{name} parity"] = "; ".join(wrong)
        else:
            yield f"{name} parity"


def commit() -> str:
    """The commit that is checked out."""
    asked = ["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def _said(error: Exception) -> str:
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first}"[:400]


# ---- all of them ---------------------------------------------------------------------------------------------------


def smallest() -> dict[str, str]:
    """Family → its variant with the fewest parameters, small to large; kept in a file, since counting takes minutes."""
    if SMALLEST.exists():
        return json.loads(SMALLEST.read_text(encoding="utf-8"))
    import timm
    import torch
    from timm.models import model_entrypoint

    found: dict[str, tuple[int, str]] = {}
    for name in timm.list_models():
        if not name.startswith("test_"):
            family = model_entrypoint(name).__module__.rpartition(".")[2]
            with torch.device("meta"):
                counted = sum(parameter.numel() for parameter in timm.create_model(name).parameters()), name
            found[family] = min(counted, found.get(family, counted))
    chosen = {family: name for family, (_, name) in sorted(found.items(), key=lambda item: item[1])}
    SMALLEST.write_text(json.dumps(chosen, indent=1) + "\n", encoding="utf-8")
    return chosen


def watch(family: str, variant: str, *, limit_s: float, limit_gib: float) -> Row:
    """The row of one family, from a process that is ended when it takes too long or too much."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "row.json"
        command = [sys.executable, "-W", "ignore", __file__, "--examine", f"{family}={variant}", "--out", str(out)]
        errors = (Path(folder) / "stderr").open("w+")
        process = subprocess.Popen(command, stdout=errors, stderr=errors)
        begin, why = time.monotonic(), ""
        while process.poll() is None and not why:
            time.sleep(0.5)
            if time.monotonic() - begin > limit_s:
                why = f"took more than {limit_s:.0f} s"
            elif _peak_gib(str(process.pid)) > limit_gib:
                why = f"took more than {limit_gib:g} GiB"
        process.kill()
        process.wait()
        errors.seek(0)
        last = (errors.read().strip().splitlines() or [""])[-1]
        row = Row(**json.loads(out.read_text(encoding="utf-8"))) if out.exists() else Row(family, variant)
        if why or process.returncode not in (0, -9):
            reached = next(stage for stage in STAGES if stage not in row.stages)
            row.stages[reached] = why or f"the process ended with {process.returncode}: {last}"
        return row


def _peak_gib(pid: str) -> float:
    with contextlib.suppress(OSError, IndexError):
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 2**20
    return 0.0


def stored() -> dict[str, Row]:
    if not ROWS.exists():
        return {}
    return {given["family"]: Row(**given) for given in json.loads(ROWS.read_text(encoding="utf-8"))}


def keep(rows: dict[str, Row]) -> None:
    ordered = [rows[family] for family in sorted(rows)]
    ROWS.write_text("[\n" + ",\n".join(json.dumps(asdict(row)) for row in ordered) + "\n]\n", encoding="utf-8")
    TABLE.write_text(table(ordered), encoding="utf-8")


# ---- the table -----------------------------------------------------------------------------------------------------

FAULTS: dict[str, tuple[str, str]] = {
    "efficientvit_mit": (
        "the model's",
        "linear attention sums q(kᵀv) over all tokens before it divides: 1.1e5, beyond float16; `--precision float32` "
        "holds it",
    ),
    "gemma4_vit": (
        "the model's",
        "with these weights it makes a thousand roundings of one: 1.1e-4 in float32 alone, so 5.5e-2 in float16, where "
        "5.0e-2 is the most that passes",
    ),
}
"""Family → whose fault a failure is, and what is behind it."""


def table(rows: list[Row]) -> str:
    captured = [row for row in rows if row.captured]
    converted = [row for row in captured if row.converted]
    passed = [row for row in captured if row.passed]
    shares = [100 * len(some) / max(len(captured), 1) for some in (converted, passed)]
    versions = {name: number for row in rows for name, number in row.versions.items() if name in PACKAGES}
    lines = [
        "# Every timm family through the exporter",
        "",
        f"{len(rows)} families, the smallest variant of each with conditioned weights (`python benchmarks/census.py`; "
        + ", ".join(f"{name} {number}" for name, number in versions.items())
        + f"). `torch.export` captures {len(captured)}. Of those **{len(converted)} ({shares[0]:.1f} %)** fold, become "
        f"an ONNX file with parity, and convert to Core ML; **{len(passed)} ({shares[1]:.1f} %)** pass the parity of "
        "the Core ML package in float16 as well.",
        "",
        f"Rows by the commit that wrote them, which the last column names: {_by_commit(rows)}.",
        "",
        "Operators and batch norms are counted in the captured graph, before → after folding; operations without "
        "constants. Errors are relative L2 of the logits against float64 PyTorch, worst of two pictures.",
        "",
        "| family | variant | pixels | operators | batch norms | ONNX nodes | Core ML operations | float32 floor | "
        "ONNX Runtime | executor, exact | executor, declared | seconds | verdict | commit |",
        "|---|---|" + "---:|" * 10 + "---|---|",
        *(_line(row) for row in rows),
        "",
        "## What did not pass",
        "",
        *(_explained(row) for row in rows if not row.passed),
        "",
    ]
    return "\n".join(lines)


def _by_commit(rows: list[Row]) -> str:
    """How many rows are of which commit; rows of before commits were noted have none."""
    wrote = Counter(f"`{row.versions['fuseport']}` ({row.day})" if row.day else "an earlier one" for row in rows)
    return ", ".join(f"{count} of {commit_of}" for commit_of, count in wrote.most_common())


def _line(row: Row) -> str:
    cells = [
        row.family,
        f"`{row.variant}`",
        str(row.pixels or "–"),
        "{} → {}".format(*row.operators) if row.operators[0] else "–",
        "{} → {}".format(*row.batch_norms) if row.operators[0] else "–",
        *(str(row.operations.get(name, "–")) for name in ("onnx", "coreml")),
        *(_error(row, name) for name in ("floor", "ONNX Runtime, CPU", "executor, exact", "executor, declared")),
        f"{row.seconds:.0f}",
        "passed" if row.passed else f"**{row.failure[0]}**",
        row.versions.get("fuseport", "earlier"),
    ]
    return "| " + " | ".join(cells) + " |"


def _error(row: Row, engine: str) -> str:
    value = row.errors.get(engine)
    return "–" if value is None else f"{value:.0e}"


def _explained(row: Row) -> str:
    stage, reason = row.failure
    whose, why = FAULTS.get(row.family, ("not yet attributed", ""))
    told = f"- **{row.family}** (`{row.variant}`), {stage}: {reason.replace('|', '/')}."
    return f"{told} Fault: {whose}{'; ' + why if why else ''}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="families, with commas")
    parser.add_argument("--redo", choices=("failed", "old", "all"), help="run families again that have a row")
    parser.add_argument("--seconds", type=float, default=600, help="limit of one model (600)")
    parser.add_argument("--gib", type=float, default=5, help="limit of one model (5)")
    parser.add_argument("--examine", metavar="FAMILY=VARIANT", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.examine:
        examine(options.examine, options.out)
        return
    from rich.progress import Progress

    rows, chosen = stored(), smallest()
    wanted = options.only.split(",") if options.only else list(chosen)
    failed = {family for family, row in rows.items() if not row.passed}
    old = {family for family, row in rows.items() if row.versions.get("fuseport") != commit()}
    again = {None: set(), "failed": failed, "old": old, "all": set(rows)}[options.redo]
    waiting = [family for family in wanted if family not in rows or family in again or options.only]
    with Progress() as bar:
        task = bar.add_task("families", total=len(waiting))
        for family in waiting:
            bar.update(task, description=family)
            row = watch(family, chosen[family], limit_s=options.seconds, limit_gib=options.gib)
            rows = {**stored(), family: row}  # another run may have added to them
            keep(rows)
            bar.advance(task)
    print(Counter(row.failure[0] or "passed" for row in rows.values()))


if __name__ == "__main__":
    main()
