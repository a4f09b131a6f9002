"""Reports side by side: a matrix of many, and the difference of two with every operation that moved.

A matrix cell is a device × OS × compute units × subject (variant or model). It gives the newest report's figures, how
many reports stand behind it, and how far their medians lie apart. Two reports are compared operation by operation,
by function, block and output name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from .noise import Interval, interval
from .placement import place
from .report import ANE, Operation, Report
from .stage import Stage, statistic
from .store import Row

METRICS = (
    ("predict", "median"),
    ("predict", "p95"),
    ("predict", "first"),
    ("load.uncached", "median"),
    ("load.cached", "median"),
    ("load.all", "median"),
    ("compile", "median"),
)


@dataclass(frozen=True)
class Cell:
    """One cell of the matrix; times in seconds. `newest` is the row whose figures a table shows."""

    subject: str
    device: str
    os: str
    units: str
    newest: Row
    reports: int
    median_of_medians: float | None
    spread: float | None
    """Slowest over fastest report median, minus one; None for a single report."""


@dataclass(frozen=True)
class Timing:
    """One metric of two reports, in seconds. `outcome` is faster, slower, within noise, or unknown."""

    metric: str
    before: float | None
    after: float | None
    growth: float | None
    outcome: str


@dataclass(frozen=True)
class Move:
    """An operation that both reports have and that runs on another unit in the second; `kind` says it in words."""

    operation: Operation
    before: str | None
    after: str | None
    kind: str


@dataclass(frozen=True)
class Difference:
    """Two reports compared; `cautions` say what else than the model differs."""

    cautions: tuple[str, ...]
    timings: tuple[Timing, ...]
    bytes: tuple[int | None, int | None]
    ane_share: tuple[float | None, float | None]
    switches: tuple[int | None, int | None]
    moves: tuple[Move, ...]
    new: tuple[Operation, ...]
    gone: tuple[Operation, ...]


def matrix(rows: Iterable[Row]) -> list[Cell]:
    """The cells of a store's rows, sorted by subject and device. Rows come newest first, as `store.rows` gives them."""
    cells: dict[tuple[str, str, str, str], list[Row]] = {}
    for row in rows:
        key = (row.subject, row.device or "unknown", row.os or "unknown", row.units or "unknown")
        cells.setdefault(key, []).append(row)
    return [_cell(key, cells[key]) for key in sorted(cells)]


def _cell(key: tuple[str, str, str, str], rows: list[Row]) -> Cell:
    medians = [row.predict_median for row in rows if row.predict_median is not None]
    apart = max(medians) / min(medians) - 1 if len(medians) > 1 and min(medians) > 0 else None
    return Cell(*key, rows[0], len(rows), median(medians) if medians else None, apart)


def difference(before: Report, after: Report) -> Difference:
    """What changed from the first report to the second."""
    old, new = ({_key(op): op for op in report.operations} for report in (before, after))
    places = [place(report) for report in (before, after)]
    units = [placement.unit(ANE) if placement else None for placement in places]
    return Difference(
        cautions=tuple(_cautions(before, after)),
        timings=tuple(_timings(before, after)),
        bytes=(before.model.bytes, after.model.bytes),
        ane_share=(units[0].placed_share if units[0] else None, units[1].placed_share if units[1] else None),
        switches=(places[0].switches if places[0] else None, places[1].switches if places[1] else None),
        moves=tuple(_move(old[key], op) for key, op in new.items() if key in old and old[key].unit != op.unit),
        new=tuple(op for key, op in new.items() if key not in old),
        gone=tuple(op for key, op in old.items() if key not in new),
    )


def _key(op: Operation) -> tuple[str, str, str, str]:
    return op.function, op.block, op.name, op.type


def _move(before: Operation, after: Operation) -> Move:
    if before.unit == ANE:
        kind = "left the Neural Engine"
    elif after.unit == ANE:
        kind = "came to the Neural Engine"
    else:
        kind = "moved"
    return Move(after, before.unit, after.unit, kind)


def _cautions(before: Report, after: Report) -> Iterable[str]:
    counts = [report.stages.get("predict", Stage()).n for report in (before, after)]
    for what, one, other in (
        ("model", before.model.name, after.model.name),
        ("device", before.device.model, after.device.model),
        ("OS", before.device.os, after.device.os),
        ("compute units", before.config.units, after.config.units),
        ("format", before.source.format, after.source.format),
        ("number of predictions", counts[0], counts[1]),
    ):
        if one != other:
            yield f"{what}: {one or 'unknown'} → {other or 'unknown'}"


def _timings(before: Report, after: Report) -> Iterable[Timing]:
    """Loads that were told apart are not compared mixed as well."""
    apart = all("load.cached" in report.stages for report in (before, after))
    for stage, name in METRICS:
        timing = None if apart and stage == "load.all" else _timing(before, after, stage, name)
        if timing is not None:
            yield timing


def _timing(before: Report, after: Report, stage: str, name: str) -> Timing | None:
    stages = [report.stages.get(stage, Stage()) for report in (before, after)]
    values = [statistic(s, name) for s in stages]
    if values == [None, None]:
        return None
    metric = f"{stage}.{name}"
    if values[0] is None or values[1] is None or values[0] <= 0:
        return Timing(metric, values[0], values[1], None, "unknown")
    spans = [interval(s, name) for s in stages]
    return Timing(metric, values[0], values[1], values[1] / values[0] - 1, _outcome(values[0], values[1], *spans))


def _outcome(before: float, after: float, noise: Interval | None, noise_after: Interval | None) -> str:
    """Slower or faster only where the two noise intervals do not touch; single values have no interval to judge by."""
    if noise is None or noise_after is None:
        return "unknown" if before != after else "equal"
    if noise_after.low > noise.high:
        return "slower"
    return "faster" if noise_after.high < noise.low else "within noise"
