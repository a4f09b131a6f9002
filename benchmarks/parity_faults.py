"""Does `fuseport check` find every fault in a file, say where it lies, and raise no false alarm?

    python benchmarks/parity_faults.py                         # what has no row yet; interrupt it and go on as you like
    python benchmarks/parity_faults.py --only alarms --variant shvit_s4 --variant swiftformer_l3
    python benchmarks/parity_faults.py --table                 # the tables from the rows, nothing run

Files are ONNX float32, Core ML float32 and Core ML float16. Faults: the preparation of the picture (red for blue,
range, mean, std), the classes (exchanged, shifted, reversed), and single weights, attributes and operators (those of
the tests, `layer_faults.py`). A preparation or an order of classes is wrong in the model that is converted. A fault
counts if it moves the file's own outputs by more than SHOWS, measured between the right file and the wrong one: what
cannot be seen in the outputs nobody can be asked to find. Found means that the check fails; placed means that its
findings name the right stage. False alarms: right files on other inputs, seeds 0 to 4. Rows are kept in
`parity_faults.json`; `parity_faults.md` is written from them after each row.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import json
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
from fuseport.export import FORMATS, recheck
from fuseport.export.artifact import Artifact, NotRun, in_one_line
from fuseport.export.engines import engines
from fuseport.export.job import Checks, Job, Source
from fuseport.export.program import Prepared, prepare
from fuseport.export.request import Request
from fuseport.export.stages import Stages
from fuseport.export.subject import Subject, subject
from fuseport.export.targets import Asked
from fuseport.models.loaded import Loaded
from fuseport.validate.parity import predict
from torch import Tensor, nn

sys.path.append(str(Path(__file__).parents[1] / "tests"))
import layer_faults

HERE = Path(__file__).parent
ROWS, TABLE = HERE / "parity_faults.json", HERE / "parity_faults.md"
VARIANTS = ("shvit_s1", "swiftformer_xs", "timm/mobilenetv3_small_050", "timm/vit_tiny_patch16_224")
FILES = ("onnx float32", "coreml float32", "coreml float16")
SHOWS = {"float32": 1e-3, "float16": 5e-2}
"""Relative L2 distance of the wrong file's outputs from the right one's, from which on a fault counts."""

SEEDS = range(5)
PACKAGES = ("torch", "timm", "coremltools", "onnx", "onnxruntime", "numpy")


class Misprepared(nn.Module):
    """The model behind a wrong preparation: channels in another order, times `scale`, plus `shift` (per channel)."""

    def __init__(self, model: nn.Module, order: Sequence[int], scale: Sequence[float], shift: Sequence[float]) -> None:
        super().__init__()
        self.model, self.order = model, list(order)
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("shift", torch.tensor(shift, dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        return self.model(image[:, self.order] * self.scale + self.shift)


class Misordered(nn.Module):
    """The model with its classes in another order."""

    def __init__(self, model: nn.Module, order: Sequence[int]) -> None:
        super().__init__()
        self.model = model
        self.order: Tensor
        self.register_buffer("order", torch.tensor(order))

    def forward(self, image: Tensor) -> Tensor:
        return self.model(image).index_select(1, self.order)


Files = dict[str, Artifact]
Keys = set[tuple[str, str, str, str]]
Wrong = Callable[[Subject], nn.Module]


def _prepared_wrong(
    how: Callable[[np.ndarray, np.ndarray], tuple[Any, Any]], order: Sequence[int] = (0, 1, 2)
) -> Wrong:
    """`how(mean, std)` gives scale and shift, (3,) each, on the normalised picture."""

    def make(model: Subject) -> nn.Module:
        made_for = model.preprocessing
        assert made_for is not None
        mean, std = np.array(made_for.mean), np.array(made_for.std)
        scale, shift = (np.broadcast_to(values, 3).tolist() for values in how(mean, std))
        return Misprepared(model.loaded.module, order, scale, shift)

    return make


def _classes_wrong(order: Callable[[int], Sequence[int]]) -> Wrong:
    return lambda model: Misordered(model.loaded.module, order(next(iter(model.reference.values())).shape[1]))


MODEL_FAULTS: dict[str, tuple[str, Wrong]] = {
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
"""Name → the stage that should be named, and the wrong model."""


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
        return self.moved is None or not self.moved < SHOWS[self.file.split()[1]]


@click.command()
@click.option("--variant", "variants", multiple=True, default=VARIANTS)
@click.option("--only", type=click.Choice(["faults", "alarms"]), help="One half of it.")
@click.option("--weights", default=14, help="Faults of weights, attributes and operators for each file (14).")
@click.option("--table", is_flag=True, help="Write the tables from the rows, and run nothing.")
def main(variants: tuple[str, ...], only: str | None, weights: int, table: bool) -> None:
    torch.set_num_threads(1)
    done = {row.key: row for row in _rows_before()}
    for variant in () if table else variants:
        for row in _rows(variant, only, weights, set(done)):
            done[row.key] = row
            click.echo(f"{' | '.join(row.key)}: {row.outcome}, {row.named or '–'}", err=True)
            _write(list(done.values()))
    _write(list(done.values()))


def _rows_before() -> Iterator[Row]:
    if ROWS.exists():
        yield from (Row(**row) for row in json.loads(ROWS.read_text(encoding="utf-8")))


def _rows(variant: str, only: str | None, weights: int, done: Keys) -> Iterator[Row]:
    """What is still to be run for one variant."""
    model = subject(Job(Source(variant), (), Request()))
    with tempfile.TemporaryDirectory() as folder:
        right = {file: _converted(model.loaded.module, model, Path(folder) / "right", file) for file in FILES}
        if only != "faults":
            yield from _alarms(variant, model, right, done)
        if only != "alarms":
            yield from _model_faults(variant, model, right, Path(folder), done)
            yield from _weight_faults(variant, model, right, Path(folder), weights, done)


def _converted(module: nn.Module, model: Subject, folder: Path, file: str) -> Artifact:
    """The module, folded and converted to a file of this format and precision."""
    form, precision = file.split()
    folder.mkdir(exist_ok=True)
    target = folder / f"{precision}{FORMATS[form].SUFFIX}"
    names = {"input_names": model.input_names, "output_names": model.output_names}
    program = _prepared(module, model).program
    return FORMATS[form].convert(program, target, Request(precision=precision), {}, **names, export_id="0" * 16)


def _prepared(module: nn.Module, model: Subject) -> Prepared:
    """Captured and folded; kept while it is the same module, which three files share."""
    if module is not _kept.get("module"):
        wrong: Loaded = replace(model.loaded, module=module)
        job = Job(Source(model.loaded.variant.name), (), Request())
        made = prepare(replace(model, loaded=wrong), job, Stages(lambda stage: None))
        _kept.update(module=module, prepared=made)
    return _kept["prepared"]


_kept: dict[str, Any] = {}


def _alarms(variant: str, model: Subject, right: Files, done: Keys) -> Iterator[Row]:
    for seed in SEEDS:
        rows = [Row("alarm", variant, file, f"seed {seed}", "passed", None, "", "", "") for file in right]
        if any(row.key not in done for row in rows):
            paths = tuple(made.path for made in right.values())
            found = recheck.recheck(_asked(model, paths, seed))
            yield from (_filled(row, result) for row, result in zip(rows, found.results, strict=True))


def _asked(model: Subject, paths: tuple[Path, ...], seed: int = 0) -> Asked:
    """The check of files against the model, which is loaded already."""
    source = Source(model.loaded.variant.name)
    return Asked(paths, source=source, loaded=model.loaded, checks=Checks(seed=seed))


def _model_faults(variant: str, model: Subject, right: Files, folder: Path, done: Keys) -> Iterator[Row]:
    for fault, (expected, wrong) in MODEL_FAULTS.items():
        rows = {file: Row("model", variant, file, fault, expected, None, "", "", "") for file in right}
        if any(row.key not in done for row in rows.values()):
            module = wrong(model).eval()
            bad = {file: _converted(module, model, folder / "wrong", file) for file in right}
            yield from _checked(rows, model, right, bad)


def _weight_faults(variant: str, model: Subject, right: Files, folder: Path, count: int, done: Keys) -> Iterator[Row]:
    for seed in range(count):
        rows, bad = {}, {}
        for file, good in right.items():
            made = replace(good, path=folder / f"bad-{file.replace(' ', '-')}{good.path.suffix}")
            broken = layer_faults.break_file(good.path, made.path, seed)
            row = Row("file", variant, file, f"seed {seed}", "layer", None, "", "", "")
            if broken is not None and row.key not in done:
                rows[file], bad[file] = replace(row, told=f"{broken[0]} at {broken[1][0]}"), made
        if rows:
            yield from _checked(rows, model, right, bad)


def _checked(rows: dict[str, Row], model: Subject, right: Files, bad: Files) -> Iterator[Row]:
    """Check the wrong files together; where one is refused, each by itself."""
    rows = {file: replace(row, moved=_moved(model, right[file], bad[file])) for file, row in rows.items()}
    try:
        found = recheck.recheck(_asked(model, tuple(bad[file].path for file in rows))).results
        yield from (_filled(row, result) for row, result in zip(rows.values(), found, strict=True))
    except ValueError:
        for file, row in rows.items():
            try:
                (result,) = recheck.recheck(_asked(model, (bad[file].path,))).results
                yield _filled(row, result)
            except ValueError as error:
                yield replace(row, outcome="refused", told=f"{row.told}; {in_one_line(error)}")


def _filled(row: Row, result: recheck.FileCheck) -> Row:
    """The row with what the check says; a file that no engine can run is refused, which is no pass either."""
    verdicts = [check.parity.verdict for check in result.checks if not isinstance(check.parity, NotRun)]
    outcome = "failed" if "failed" in verdicts else "passed" if "passed" in verdicts else "not checked"
    outcome = "refused" if not verdicts else outcome
    named = "+".join(dict.fromkeys(found.stage for found in result.findings))
    told = [found.what for found in result.findings]
    told = told or ([] if outcome == "passed" else [str(result.checks[0].parity.reason)])
    return replace(row, outcome=outcome, named=named, told="; ".join(filter(None, (row.told, *told))))


def _moved(model: Subject, good: Artifact, bad: Artifact) -> float | None:
    """Relative L2 distance of the wrong file's outputs from the right one's; None where the wrong one cannot run."""
    run = engines(good)[0].open()
    assert not isinstance(run, NotRun), run.reason
    (a,) = predict(run, model.feed, batch=1).values()
    try:
        opened = engines(bad)[0].open()
        if isinstance(opened, NotRun):
            return None
        (b,) = predict(opened, model.feed, batch=1).values()
    except (mil.MilError, RuntimeError, ValueError):
        return None
    except Exception as error:  # onnxruntime's exceptions have no base of their own
        if "onnxruntime" not in type(error).__module__:
            raise
        return None
    if a.shape != b.shape or not np.isfinite(b).all():
        return None
    return float(np.linalg.norm((a - b).astype(np.float64)) / np.linalg.norm(a.astype(np.float64)))


def _write(rows: list[Row]) -> None:
    """Both tables: for people, and every row for machines."""
    faults = [row for row in rows if row.kind != "alarm"]
    lines = [
        "# Faults found, and false alarms",
        "",
        f"`python benchmarks/parity_faults.py`, {', '.join(f'{name} {version(name)}' for name in PACKAGES)}.",
        "",
        "A fault counts if it moves the outputs by more than "
        f"{SHOWS['float32']:g} (float32) or {SHOWS['float16']:g} (float16) of their size.",
        "",
        "| model | file | faults that count | found | stage named rightly | too small to count | of these found |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for variant, file in dict.fromkeys((row.variant, row.file) for row in faults):
        lines.append(_fault_line(variant, file, [row for row in faults if (row.variant, row.file) == (variant, file)]))
    lines += [
        "",
        "| model | file | checks of right files | false alarms | could not be judged |",
        "|---|---|---:|---:|---:|",
    ]
    alarms = [row for row in rows if row.kind == "alarm"]
    for variant, file in dict.fromkeys((row.variant, row.file) for row in alarms):
        found = Counter(row.outcome for row in alarms if (row.variant, row.file) == (variant, file))
        lines.append(f"| {variant} | {file} | {found.total()} | {found['failed']} | {found['not checked']} |")
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
    share = f"{len(placed) / max(len(found), 1):.0%}"
    return f"| {variant} | {file} | {len(counting)} | {len(found)} | {share} | {len(small)} | {seen} |"


if __name__ == "__main__":
    main()
