"""The profile report: what ran how fast, under which conditions, as one value, and its JSON (schema in `SCHEMA`).

The JSON has the fields of `ProfileReport`, nested as the dataclasses are: times in milliseconds, memory in bytes. A
stage that could not run is `{"not_run": reason}`, one that nobody asked for is null. A reader of schema 1 may rely on
every field that is here; later versions of the same schema only add.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...validate.latency import Latency
from ...validate.machine import Machine
from ...validate.measure import Plan
from ...validate.race import Verdict
from ...validate.roofline import Distance, Roofline
from ..artifact import NotRun
from ..atomic import staging
from ..report import report_json

SCHEMA = "fuseport.profile/1"


@dataclass(frozen=True)
class Conditions:
    """What holds for every contestant alike."""

    taken_at: str
    """UTC, ISO 8601."""
    machine: Machine
    load_before: float | None
    """Programs that wanted to run in the last minute, before the measurement and after it (which includes itself)."""
    load_after: float | None
    timer_ns: float
    """What the clock adds to each sample."""
    threads: int
    batch: int
    inputs: str
    """What the contestants were given, in words."""
    load: str
    """What a cold load is here, in words."""
    plan: Plan
    """How long was measured: bound of the interval, confidence, warm-up, samples, seconds, seed."""
    versions: dict[str, str]


@dataclass(frozen=True)
class Memory:
    """The peak of a contestant in a process of its own, over what that process holds with the libraries imported."""

    load_bytes: int
    """While it was loaded."""
    peak_bytes: int
    """Over loading and three calls."""
    baseline_bytes: int
    """What the process held before."""
    method: str


@dataclass(frozen=True)
class Throughput:
    """Pictures per second at a batch size: the batch over the median time of a call, and over its interval's ends."""

    batch: int
    pictures_per_s: float
    low: float
    high: float
    latency: Latency
    ratio: float | None
    """Over the first contestant's at this batch; above 1 is more pictures per second. None where that did not run."""


@dataclass(frozen=True)
class OperatorTime:
    """An operator of the file and its mean time per call. `module` is the PyTorch module it came from, None unknown."""

    name: str
    type: str
    module: str | None
    unit: str | None
    ms: float


@dataclass(frozen=True)
class OperatorTimes:
    """Where a call's time goes, from a run with profiling on, which slows every operator alike."""

    operators: tuple[OperatorTime, ...]
    calls: int
    call_ms: float
    """Mean of the profiled calls; what of it lies in no operator is the engine's own work and the profiler's."""
    joined: float
    """Share of the operators' time whose module is known."""
    modules_from: str
    """Where the table of modules came from, in words."""


@dataclass(frozen=True)
class Placed:
    """What Core ML plans for an operation: the device it prefers, those that could, and its share of the cost."""

    name: str
    type: str
    device: str
    supported: tuple[str, ...]
    cost_share: float | None


@dataclass(frozen=True)
class Work:
    """What a contestant computes and moves in a call of the batch."""

    macs: int
    weight_bytes: int
    activation_bytes: int
    """Read and written by its operators, each counted once per operator."""


@dataclass(frozen=True)
class Entrant:
    """One contestant: a subject (file or model) on a backend."""

    name: str
    subject: str
    backend: str
    note: str
    """What must be known of this backend before its figures are compared; empty if nothing."""
    load_ms: float | None
    latency: Latency | NotRun
    ratio: float | None
    """Its median over that of the first contestant that ran; above 1 is slower."""
    versus: str | None
    """What of that is shown: "the first", "faster than the first", "slower than the first", "no difference shown"
    (intervals overlap), "unreliable" (the samples of one of the two spread too widely)."""
    throughput: tuple[Throughput | NotRun, ...]
    memory: Memory | NotRun | None
    operators: OperatorTimes | NotRun | None
    """None also where its engine does not tell; `placement` likewise."""
    placement: tuple[Placed, ...] | NotRun | None
    work: Work | NotRun | None
    roofline: Distance | NotRun | None


@dataclass(frozen=True)
class ProfileReport:
    """A whole run; the first of `entrants` that ran is what the others are compared with."""

    schema: str
    fuseport: str
    conditions: Conditions
    entrants: tuple[Entrant, ...]
    verdict: Verdict
    roofline: Roofline | None

    @property
    def ran(self) -> dict[str, Latency]:
        """The latencies of those that ran, by name, in order."""
        return {entrant.name: entrant.latency for entrant in self.entrants if isinstance(entrant.latency, Latency)}

    @property
    def failures(self) -> dict[str, NotRun]:
        """Why the others did not run."""
        return {entrant.name: entrant.latency for entrant in self.entrants if isinstance(entrant.latency, NotRun)}


def write_profile(report: ProfileReport, target: Path) -> None:
    """Put the report's JSON in place, complete or not at all. Raises NotWritten."""
    with staging(target) as (path,):
        path.write_text(profile_json(report), encoding="utf-8")


def profile_json(report: ProfileReport) -> str:
    """The report as JSON text with a final newline."""
    return report_json(report)
