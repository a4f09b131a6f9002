"""Does `fuseport check` find every fault in a file, say where it lies, and raise no false alarm?

    python benchmarks/parity_faults.py                         # what has no row yet; interrupt it and go on as you like
    python benchmarks/parity_faults.py --only alarms --variant shvit_s4 --variant swiftformer_l3
    python benchmarks/parity_faults.py --table                 # the tables from the rows, nothing run

Files are ONNX float32, Core ML float32 and Core ML float16. Faults: the preparation of the picture (red for blue,
range, mean, std), the classes (exchanged, shifted, reversed), and single weights, attributes and operators (those of
the tests, `layer_faults.py`). Every fault is written into the right file, and the model is loaded, folded and run once
for all of them. A fault counts if it moves the file's own outputs by more than SHOWS, measured between the right file
and the wrong one: what cannot be seen in the outputs nobody can be asked to find. Found means that the check fails;
placed means that its findings name the right stage, and for a weight, an attribute or an operator the first tensor that
it makes wrong (or, where that has no counterpart in PyTorch, the next one that has). False alarms: right files on other
inputs, seeds 0 to 4. Rows are kept in `parity_faults.json`; `parity_faults.md` is written from them after each row.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from fuseport import mil
from fuseport.export import FORMATS
from fuseport.export.artifact import Artifact, NotRun, in_one_line
from fuseport.export.commands.model_options import model_arg
from fuseport.export.job import Checks, Job, Source
from fuseport.export.program import Prepared, prepare
from fuseport.export.proof.layer_parity import compare_layers
from fuseport.export.recheck import recheck
from fuseport.export.recheck.mapping import bridge
from fuseport.export.recheck.targets import Asked, target
from fuseport.export.request import Request
from fuseport.export.saved.engines import engines
from fuseport.export.saved.points import Tensor as Point
from fuseport.export.saved.points import open_points
from fuseport.export.stages import Stages
from fuseport.export.subject import Subject, network_input, subject, subject_of
from fuseport.validate.parity import predict

sys.path.append(str(Path(__file__).parents[1] / "tests"))
import file_faults
import layer_faults

STAGES = Stages(lambda stage: None)
HERE = Path(__file__).parent
ROWS, TABLE = HERE / "parity_faults.json", HERE / "parity_faults.md"
VARIANTS = ("shvit_s1", "swiftformer_xs", "timm/mobilenetv3_small_050", "timm/vit_tiny_patch16_224")
FILES = ("onnx float32", "coreml float32", "coreml float16")
SHOWS = 1e-4
"""Relative L2 distance of the wrong file's outputs from the right one's, from which on a fault counts."""

SEEDS = range(5)
PACKAGES = ("torch", "timm", "coremltools", "onnx", "onnxruntime", "numpy")


Files = dict[str, Artifact]
Keys = set[tuple[str, str, str, str]]
Break = Callable[[Path, Path, Subject], None]
"""Writes the right file with a fault to another path."""


def _prepared_wrong(
    how: Callable[[np.ndarray, np.ndarray], tuple[Any, Any]], order: Sequence[int] = (0, 1, 2)
) -> Break:
    """`how(mean, std)` gives scale and shift, (3,) each, on the normalised picture."""

    def write(good: Path, bad: Path, model: Subject) -> None:
        made_for = model.preprocessing
        assert made_for is not None
        scale, shift = how(np.array(made_for.mean), np.array(made_for.std))
        file_faults.misprepare(good, bad, order, np.broadcast_to(scale, 3).tolist(), np.broadcast_to(shift, 3).tolist())

    return write


def _classes_wrong(order: Callable[[int], Sequence[int]]) -> Break:
    def write(good: Path, bad: Path, model: Subject) -> None:
        file_faults.misorder(good, bad, order(next(iter(model.reference.values())).shape[1]))

    return write


MODEL_FAULTS: dict[str, tuple[str, Break]] = {
    "BGR for RGB": ("preprocessing", _prepared_wrong(lambda mean, std: (1, 0), (2, 1, 0))),
    "0..255 for 0..1": ("preprocessing", _prepared_wrong(lambda mean, std: (255, 254 * mean / std))),
    "scaled by 1/255 twice": (
        "preprocessing",
        _prepared_wrong(lambda mean, std: (1 / 255, (1 / 255 - 1) * mean / std)),
    ),
    "mean not subtracted": ("preprocessing", _prepared_wrong(lambda mean, std: (1, mean / std))),
    "std not divided by": ("preprocessing", _prepared_wrong(lambda mean, std: (std, 0))),
    "-1..1": ("preprocessing", _prepared_wrong(lambda mean, std: (2 * std, 2 * mean - 1))),
    "two classes exchanged": ("output", _classes_wrong(lambda count: [1, 0, *range(2, count)])),
    "classes shifted by one": ("output", _classes_wrong(lambda count: [count - 1, *range(count - 1)])),
    "classes reversed": ("output", _classes_wrong(lambda count: range(count - 1, -1, -1))),
}
"""Name → the stage that should be named, and how the fault is written."""


@dataclass(frozen=True)
class Row:
    """One check. `moved` is the distance of the outputs from the right file's, `named` the stages of the findings."""

    kind: str
    variant: str
    file: str
    fault: str
    expected: str
    moved: float | None
    outcome: str
    named: str
    told: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.kind, self.variant, self.file, self.fault

    @property
    def counts(self) -> bool:
        return self.moved is None or not self.moved < SHOWS


@click.command()
@click.option("--variant", "variants", multiple=True, default=VARIANTS)
@click.option("--only", type=click.Choice(["faults", "alarms"]), help="One half of it.")
@click.option("--weights", default=14, help="Faults of weights, attributes and operators for each file (14).")
@click.option("--table", is_flag=True, help="Write the tables from the rows, and run nothing.")
@click.option("--image-size", type=int, help="Side of the pictures, instead of the variant's own.")
@click.option("--model-arg", "model_args", multiple=True, help="KEY=VALUE, an option of the variant (method=tome).")
@click.option("--samples", default=4, help="Samples of a check (4).")
@click.option("--again", is_flag=True, help="Run what has rows too.")
def main(
    variants: tuple[str, ...],
    only: str | None,
    weights: int,
    table: bool,
    image_size: int | None,
    model_args: tuple[str, ...],
    samples: int,
    again: bool,
) -> None:
    torch.set_num_threads(1)
    done = {row.key: row for row in _rows_before()}
    for variant in () if table else variants:
        source = Source(variant, image_size=image_size, model_args=dict(map(model_arg, model_args)))
        for row in _rows(source, samples, only, weights, set() if again else set(done)):
            done[row.key] = row
            click.echo(f"{' | '.join(row.key)}: {row.outcome}, {row.named or '–'}", err=True)
            _write(list(done.values()))
    _write(list(done.values()))


def _rows_before() -> Iterator[Row]:
    if ROWS.exists():
        yield from (Row(**row) for row in json.loads(ROWS.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Known:
    """One variant: its right files and what they answer, the model folded and run for their checks, and the tensors of
    each file that can be named (with all the others, in the file's order)."""

    job: Job
    files: Files
    answers: dict[str, np.ndarray]
    prepared: Prepared
    model: recheck.Measured
    tensors: dict[str, tuple[tuple[Point, ...], set[str]]]

    @property
    def subject(self) -> Subject:
        return self.model.subject


def _rows(source: Source, samples: int, only: str | None, weights: int, done: Keys) -> Iterator[Row]:
    """What is still to be run for one variant."""
    job = Job(source, (), Request(), Checks(samples=samples), batch_size=1)
    model = subject(job)
    prepared = prepare(model, job, STAGES)
    variant = " ".join((source.variant, *(f"{key}={value}" for key, value in source.model_args.items())))
    variant = f"{variant} at {source.image_size}" if source.image_size else variant
    with tempfile.TemporaryDirectory() as folder:
        files = {file: _converted(model, prepared, Path(folder) / "right", file) for file in FILES}
        measured = recheck.measured(model, job, list(files.values()), STAGES, prepared)
        tensors = {file: _tensors(made, model, prepared) for file, made in files.items() if only != "alarms"}
        answers = {file: _answer(made, model) for file, made in files.items() if only != "alarms"}
        known = Known(job, files, answers, prepared, measured, tensors)
        if only != "faults":
            yield from _alarms(variant, known, done)
        if only != "alarms":
            yield from _model_faults(variant, known, Path(folder), done)
            yield from _weight_faults(variant, known, Path(folder), weights, done)


def _converted(model: Subject, prepared: Prepared, folder: Path, file: str) -> Artifact:
    """A file of this format and precision."""
    form, precision = file.split()
    folder.mkdir(exist_ok=True)
    target = folder / f"{precision}{FORMATS[form].SUFFIX}"
    names = {"input_names": model.input_names, "output_names": model.output_names, "export_id": "0" * 16}
    return FORMATS[form].convert(prepared.program, target, Request(precision=precision), {}, **names)


def _tensors(made: Artifact, model: Subject, prepared: Prepared) -> tuple[tuple[Point, ...], set[str]]:
    feed = {name: values[:1] for name, values in model.feed.items()}
    layers = compare_layers(made, prepared.program, feed, [x[:1] for x in network_input(model)]).layers
    return open_points(made, feed).tensors, {layer.tensor for layer in layers}


def _alarms(variant: str, known: Known, done: Keys) -> Iterator[Row]:
    for seed in SEEDS:
        rows = {file: Row("alarm", variant, file, f"seed {seed}", "passed", None, "", "", "") for file in known.files}
        if any(row.key not in done for row in rows.values()):
            job = replace(known.job, checks=replace(known.job.checks, seed=seed))
            model = subject_of(known.subject.loaded, job)
            files = list(known.files.values())
            other = replace(known, job=job, model=recheck.measured(model, job, files, STAGES, known.prepared))
            yield from (_checked(row, other, known.files[file]) for file, row in rows.items())


def _model_faults(variant: str, known: Known, folder: Path, done: Keys) -> Iterator[Row]:
    for fault, (expected, write) in MODEL_FAULTS.items():
        for file, good in known.files.items():
            row = Row("model", variant, file, fault, expected, None, "", "", "")
            if row.key not in done:
                bad = replace(good, path=folder / f"wrong{good.path.suffix}")
                write(good.path, bad.path, known.subject)
                yield _checked(replace(row, moved=_moved(known, file, bad)), known, bad)


def _weight_faults(variant: str, known: Known, folder: Path, count: int, done: Keys) -> Iterator[Row]:
    for seed in range(count):
        for file, good in known.files.items():
            row = Row("file", variant, file, f"seed {seed}", "layer", None, "", "", "")
            if row.key in done:
                continue
            bad = replace(good, path=folder / f"bad{good.path.suffix}")
            broken = layer_faults.break_file(good.path, bad.path, seed)
            if broken is not None:
                row = replace(row, told=f"{broken[0]} at {broken[1][0]}", moved=_moved(known, file, bad))
                yield _attributed(_checked(row, known, bad), layer_faults.readers(broken[1], *known.tensors[file]))


def _attributed(row: Row, right: set[str]) -> Row:
    """The row, its stage `elsewhere` if the layer that is named is none of `right`."""
    named = re.search(r"jumps at .*? tensor '([^']*)'", row.told)
    if row.named != "layer" or (named is not None and named.group(1) in right):
        return row
    return replace(row, named="elsewhere")


def _checked(row: Row, known: Known, artifact: Artifact) -> Row:
    """The row with what `fuseport check` says of the file."""
    asked = Asked((artifact.path,), source=known.job.source, loaded=known.subject.loaded, checks=known.job.checks)
    try:
        opened = target(artifact.path, asked, None)
        way = bridge(opened.artifact, known.subject.feed, {})
        return _filled(row, recheck.check_file(opened, way, known.model, asked))
    except ValueError as error:
        return replace(row, outcome="refused", told=f"{row.told}; {in_one_line(error)}")


def _filled(row: Row, result: recheck.FileCheck) -> Row:
    """The row with what the check says; a file that no engine can run is refused, which is no pass either."""
    verdicts = [check.parity.verdict for check in result.checks if not isinstance(check.parity, NotRun)]
    outcome = "failed" if "failed" in verdicts else "passed" if "passed" in verdicts else "not checked"
    outcome = "refused" if not verdicts else outcome
    named = "+".join(dict.fromkeys(found.stage for found in result.findings))
    told = [found.what for found in result.findings]
    told = told or ([] if outcome == "passed" else [str(result.checks[0].parity.reason)])
    return replace(row, outcome=outcome, named=named, told="; ".join(filter(None, (row.told, *told))))


def _answer(made: Artifact, model: Subject) -> np.ndarray:
    """What a file gives for the check inputs, on the first engine of its format."""
    run = engines(made)[0].open()
    if isinstance(run, NotRun):
        raise RuntimeError(run.reason)
    (answer,) = predict(run, model.feed, batch=1).values()
    return answer


def _moved(known: Known, file: str, bad: Artifact) -> float | None:
    """Relative L2 distance of the wrong file's outputs from the right one's; None where the wrong one cannot run."""
    right = known.answers[file]
    try:
        wrong = _answer(bad, known.subject)
    except (mil.MilError, RuntimeError, ValueError):
        return None
    except Exception as error:  # onnxruntime's exceptions have no base of their own
        if "onnxruntime" not in type(error).__module__:
            raise
        return None
    if wrong.shape != right.shape or not np.isfinite(wrong).all():
        return None
    return float(np.linalg.norm((right - wrong).astype(np.float64)) / np.linalg.norm(right.astype(np.float64)))


def _write(rows: list[Row]) -> None:
    """Both tables: for people, and every row for machines."""
    faults = [row for row in rows if row.kind != "alarm"]
    lines = [
        "# Faults found, and false alarms",
        "",
        f"`python benchmarks/parity_faults.py`, {', '.join(f'{name} {version(name)}' for name in PACKAGES)}.",
        "",
        f"A fault counts if it moves the outputs by more than {SHOWS:g} of their size.",
        "",
        "| model | file | faults that count | found | stage named rightly | too small to count | of these found |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for variant, file in dict.fromkeys((row.variant, row.file) for row in faults):
        lines.append(_fault_line(variant, file, [row for row in faults if (row.variant, row.file) == (variant, file)]))
    lines.append(_fault_line("all", "", faults))
    lines += [
        "",
        "| model | file | checks of right files | false alarms | could not be judged |",
        "|---|---|---:|---:|---:|",
    ]
    alarms = [row for row in rows if row.kind == "alarm"]
    for variant, file in dict.fromkeys((row.variant, row.file) for row in alarms):
        found = Counter(row.outcome for row in alarms if (row.variant, row.file) == (variant, file))
        lines.append(f"| {variant} | {file} | {found.total()} | {found['failed']} | {found['not checked']} |")
    found = Counter(row.outcome for row in alarms)
    lines.append(f"| all | | {found.total()} | {found['failed']} | {found['not checked']} |")
    missed = [row for row in faults if row.counts and row.outcome == "passed"]
    misplaced = [row for row in faults if row.counts and row.outcome != "refused" and row.expected not in row.named]
    for title, some in (("Not found", missed), ("Named otherwise", misplaced)):
        lines += ["", f"## {title}", ""] + [
            f"- {row.variant}, {row.file}, {row.fault} ({row.expected}): {row.named or 'nothing'}: {row.told}"
            for row in some
        ]
        lines += [] if some else ["None."]
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    ROWS.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")


def _fault_line(variant: str, file: str, rows: list[Row]) -> str:
    counting, small = [row for row in rows if row.counts], [row for row in rows if not row.counts]
    found = [row for row in counting if row.outcome != "passed"]
    placed = [row for row in found if row.outcome == "refused" or row.expected in row.named]
    seen = sum(row.outcome == "failed" for row in small)
    share = f"{len(placed) / max(len(found), 1):.1%}"
    return f"| {variant} | {file} | {len(counting)} | {len(found)} | {share} | {len(small)} | {seen} |"


if __name__ == "__main__":
    main()
