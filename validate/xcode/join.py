"""A performance report ↔ the export it measures: which artifact it is, how sure that is, and each operation's module.

Identity: the export id, which the exporter writes into the artifact's metadata and Core ML copies into the report.
Without an id on both sides, the file name, the size and the histogram of operator types stand in, and the match says
that they did. Two different ids are never a match, whatever else agrees.

Operations: by output name, which a saved package keeps; where the table lacks the name, by the name of the weight
(`blocks_0_dw_weight_to_fp16` → `blocks.0.dw`) if only one module of the table fits. What stays unmatched is listed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .document import ReportError
from .manifest import ExportRecord
from .metadata import is_constant
from .report import Model, Operation, Report

EXACT, STRONG, LIKELY, WEAK, NONE = "exact", "strong", "likely", "weak", "none"
LEVELS = (EXACT, STRONG, LIKELY, WEAK, NONE)
BY_NAME, BY_WEIGHT = "output name", "weight name"
_ARTIFACTS = {"xcode": "coreml", "ort-perf": "onnx", "ort-profile": "onnx", "tflite": "tflite"}
_SIMILAR = 0.9
"""Compiling a package may add or merge a few operations; below this part of common ones it is another model."""
_WEIGHT_ENDING = re.compile(r"_(?:weight|gamma|kernel)(?:_\w*)?$")


@dataclass(frozen=True)
class Match:
    """How sure it is that a report measures an artifact: a level of `LEVELS`, and what speaks for and against it."""

    level: str
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class Join:
    """A report joined to its export. `modules[i]` is the module path of operation i, None where none was found.

    `found_by[i]` says how ("output name", "weight name"); `unused` are names of the table that the report lacks.
    """

    match: Match
    export_id: str | None
    variant: str | None
    source: str
    modules: tuple[str | None, ...]
    found_by: tuple[str | None, ...]
    unused: tuple[str, ...]

    @property
    def matched(self) -> int:
        return sum(module is not None for module in self.modules)


def find_export(report: Report, records: Sequence[ExportRecord]) -> Join | None:
    """The join with the surest of the records; None when there are none. Raises `ReportError` when none fits."""
    fitting = [r for r in records if r.format is None or r.format == _ARTIFACTS.get(report.source.format, r.format)]
    if not records:
        return None
    if not fitting:
        raise ReportError(
            f"the export reports hold no artifact that a report of the format {report.source.format} measures"
        )
    matches = [(judge(report.model, record), record) for record in fitting]
    match, record = min(matches, key=lambda pair: LEVELS.index(pair[0].level))
    if match.level == NONE:
        raise ReportError(f"a report of another model than {record.source} exported: {'; '.join(match.evidence)}")
    return join(report, record, match)


def judge(model: Model, record: ExportRecord) -> Match:
    """How sure it is that `model`, as a report describes it, is the recorded artifact."""
    if model.export_id and record.export_id:
        if model.export_id == record.export_id:
            return Match(EXACT, (f"export id {model.export_id} equal",))
        return Match(NONE, (f"export id {model.export_id} in the report, {record.export_id} in the export",))
    if not (model.name or model.bytes or model.histogram):
        return Match(WEAK, ("the report says nothing of its model: joined because this export was named",))
    checks = {
        "file name": _same(model.name, record.name),
        "size": _same(model.bytes, record.bytes),
        "operator histogram": _overlap(plain_histogram(model.histogram), plain_histogram(record.operations)),
    }
    evidence = tuple(f"{name} {_words(same)}" for name, same in checks.items())
    return Match(_level(checks), evidence)


def _level(checks: Mapping[str, float | None]) -> str:
    agree = {name for name, same in checks.items() if same == 1}
    differ = {name for name, same in checks.items() if same is not None and same < _SIMILAR}
    if "operator histogram" in differ or len(differ) > 1:
        return NONE
    if len(agree) > 1 and not differ:
        return STRONG if "operator histogram" in agree else LIKELY
    if "operator histogram" in agree:
        return LIKELY
    return WEAK if agree else NONE


def _words(same: float | None) -> str:
    if same is None:
        return "not known on both sides"
    return "equal" if same == 1 else f"{same:.0%} alike" if same else "different"


def _same(ours: object, theirs: object) -> float | None:
    return float(ours == theirs) if ours and theirs else None


def _overlap(ours: Mapping[str, int], theirs: Mapping[str, int]) -> float | None:
    """Operations that both histograms count, as a part of those that either counts: 1 for equal histograms."""
    if not ours or not theirs:
        return None
    names = {*ours, *theirs}
    both = sum(min(ours.get(name, 0), theirs.get(name, 0)) for name in names)
    return both / sum(max(ours.get(name, 0), theirs.get(name, 0)) for name in names)


def plain_histogram(histogram: Mapping[str, int]) -> dict[str, int]:
    """Operator counts in one spelling: `Ios16.reduceMean` and `reduce_mean` are the same; constants are left out."""
    plain: dict[str, int] = {}
    for key, count in histogram.items():
        if not is_constant(key) and count:
            name = key.rpartition(".")[2].replace("_", "").lower()
            plain[name] = plain.get(name, 0) + count
    return plain


def join(report: Report, record: ExportRecord, match: Match) -> Join:
    """The module of every operation, by the record's table."""
    by_weight = _unique_paths(record.modules.values())
    pairs = [_module(op, record.modules, by_weight) for op in report.operations]
    known = {name for op in report.operations for name in (op.name, *op.outputs)}
    return Join(
        match=match,
        export_id=record.export_id,
        variant=record.variant,
        source=record.source,
        modules=tuple(module for module, _ in pairs),
        found_by=tuple(how for _, how in pairs),
        unused=tuple(name for name in record.modules if name not in known),
    )


def _module(op: Operation, table: Mapping[str, str], by_weight: Mapping[str, str]) -> tuple[str | None, str | None]:
    for name in (op.name, *op.outputs):
        if name in table:
            return table[name], BY_NAME
    if op.parameter and _WEIGHT_ENDING.search(op.parameter):
        stem = _WEIGHT_ENDING.sub("", op.parameter)
        for candidate in (stem, stem.removeprefix("p_")):  # torch.export prefixes parameters with p_
            if candidate in by_weight:
                return by_weight[candidate], BY_WEIGHT
    return None, None


def _unique_paths(paths: Iterable[str]) -> dict[str, str]:
    """Module paths by their spelling with underscores, where that is unambiguous ("a.b_c" and "a_b.c" are not)."""
    spellings: dict[str, set[str]] = {}
    for path in paths:
        if path:
            spellings.setdefault(path.replace(".", "_"), set()).add(path)
    return {spelling: next(iter(found)) for spelling, found in spellings.items() if len(found) == 1}
