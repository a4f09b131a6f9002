"""What has changed since a baseline was accepted, file by file, old beside new; and the baseline that accepts it.

A file is the same if its hash is. What else is listed says how it differs: operators, size, precision, tensors. An
error drifts only if it grew to more than TWICE and by more than a TENTH of its bound: below that it may be another
processor's rounding. The engines of other systems are left alone, since a Mac runs some that Linux cannot.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ..artifact import Artifact, NotRun
from ..proof.check import Check
from .baseline import Accepted, Baseline, Entry, Figures

TWICE, TENTH = 2.0, 0.1
SHOWN = 12
"""Digits of a hash that are shown."""

FIRST = 3
"""Changes that one line tells."""


@dataclass(frozen=True)
class Change:
    """One thing that is not as it was."""

    what: str
    old: str
    new: str


@dataclass(frozen=True)
class Drift:
    """A file (by its name in the baseline) that is not as it was accepted."""

    artifact: str
    changes: tuple[Change, ...]

    def told(self) -> str:
        """'model.onnx: size 25,310 bytes → 25,400 bytes; operator Conv 58 → 61 and 3 more'."""
        first = "; ".join(f"{one.what} {one.old} → {one.new}" for one in self.changes[:FIRST])
        more = len(self.changes) - FIRST
        return f"{self.artifact}: {first}" + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True)
class Watched:
    """The baseline (its file's name) that files were held against, and what has changed; `accepted` if it now says so
    itself."""

    baseline: str
    drifts: tuple[Drift, ...]
    accepted: bool = False


def entry_of(artifact: Artifact, against: str, checks: Sequence[Check], tolerance: Accepted | None) -> Entry:
    """A checked file as the baseline keeps it."""
    return Entry(
        against=against,
        bytes=artifact.bytes,
        checks={check.engine: _figures(check) for check in checks if not isinstance(check.parity, NotRun)},
        operations=dict(artifact.operations),
        precision=artifact.precision,
        sha256=artifact.sha256,
        tensors={
            spec.name: f"{spec.dtype} ({', '.join(map(str, spec.shape))})"
            for spec in (*artifact.inputs, *artifact.outputs)
        },
        tolerance=tolerance,
    )


def drift(name: str, was: Entry | None, now: Entry) -> Drift | None:
    """What differs; None if the file is as it was accepted."""
    changes = (Change("the file", "not in the baseline", "new"),) if was is None else tuple(_changes(was, now))
    return Drift(name, changes) if changes else None


def updated(baseline: Baseline, now: Mapping[str, Entry]) -> Baseline:
    """The baseline that accepts `now`. Entries that did not drift stay to the letter, so that nothing churns."""
    kept = {name: entry for name, entry in now.items() if drift(name, baseline.entries.get(name), entry)}
    return replace(baseline, entries=baseline.entries | kept)


def _figures(check: Check) -> dict[str, Figures]:
    assert not isinstance(check.parity, NotRun)
    return {
        output.name: Figures(_two_digits(output.relative_l2), _two_digits(output.bound), output.reason)
        for output in check.parity.outputs
    }


def _two_digits(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.1e}")


def _changes(was: Entry, now: Entry) -> Iterator[Change]:
    if was.sha256 != now.sha256:
        yield Change("sha256", f"{was.sha256[:SHOWN]}…", f"{now.sha256[:SHOWN]}…")
    plain = (
        ("checked against", was.against, now.against),
        ("precision", was.precision, now.precision),
        ("size", f"{was.bytes:,} bytes", f"{now.bytes:,} bytes"),
        ("tolerance", _limit(was.tolerance), _limit(now.tolerance)),
    )
    yield from (Change(what, old, new) for what, old, new in plain if old != new)
    yield from _counted("operator", was.operations, now.operations)
    yield from _counted("tensor", was.tensors, now.tensors)
    for engine in sorted(was.checks.keys() & now.checks.keys()):
        yield from _errors(engine, was.checks[engine], now.checks[engine])


def _counted(what: str, was: Mapping[str, object], now: Mapping[str, object]) -> Iterator[Change]:
    """Each name whose value is another; one that is missing on a side is "none" there."""
    for name in sorted(was.keys() | now.keys()):
        if was.get(name) != now.get(name):
            yield Change(f"{what} {name}", str(was.get(name, "none")), str(now.get(name, "none")))


def _errors(engine: str, was: Mapping[str, Figures], now: Mapping[str, Figures]) -> Iterator[Change]:
    for output in sorted(was.keys() & now.keys()):
        old, new = was[output].error, now[output].error
        bound = was[output].bound or now[output].bound or 0.0
        if new is not None and (old is None or new > max(TWICE * old, old + TENTH * bound)):
            told = "none" if old is None else f"{old:.1e}"
            yield Change(f"error of {output} ({engine})", told, f"{new:.1e}")


def _limit(tolerance: Accepted | None) -> str:
    if tolerance is None:
        return "measured"
    return f"atol {tolerance.atol:g}, rtol {tolerance.rtol:g} ({tolerance.reason})"
