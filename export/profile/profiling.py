"""Measure contestants side by side and put everything that was found into one report.

    subjects ── line_up ──► contestants ── open ──► ready ── measure, interleaved ──► latencies ──► ProfileReport

All latencies are taken in one go; whatever slows an engine down (its own profiler) or needs the machine for itself is
done before or after. A contestant that fails is part of the report, with the line that says why; the others go on.
"""

from __future__ import annotations

import importlib.metadata as packages
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

from ...validate.latency import Latency
from ...validate.machine import load_average, machine
from ...validate.measure import Plan, measure, timed_once, timer_cost_ns
from ...validate.race import standings, verdict
from ...validate.roofline import Roofline
from ..artifact import NotRun, in_one_line
from ..given import Given
from ..quiet import quiet
from ..threads import torch_threads
from .contestants import INPUTS, LOAD, Contestant, Ready, feed, line_up, open_contestant
from .memory import memory
from .profile_report import SCHEMA, Conditions, Entrant, Memory, OperatorTimes, Placed, ProfileReport, Throughput
from .rooflines import roofline
from .work import under, work_of

VERSIONS = ("fuseport", "torch", "onnxruntime", "coremltools", "numpy")
TIMED = "one call, its inputs and outputs in the memory of this process"

Taken = dict[str, Latency | NotRun]
"""Of every contestant by name, in order."""
Announce = Callable[[str], None]


@dataclass(frozen=True)
class Asked:
    """What is measured, and on what terms. The plan's `seed` is also that of the inputs; its warm-up is at least 1."""

    backends: tuple[str, ...] = ()
    """Empty: those that are chosen by themselves."""
    threads: int = 1
    batch: int = 1
    throughput: tuple[int, ...] = ()
    """Batch sizes at which the pictures per second are measured."""
    memory: bool = False
    operators: bool = False
    """The time, or the planned place, of every operator."""
    roofline: bool = False
    plan: Plan = field(default_factory=Plan)


@dataclass(frozen=True)
class _Found:
    """Everything that was measured, each by the name of its contestant; what nobody asked for is empty."""

    opened: dict[str, Ready | NotRun]
    taken: dict[int, Taken]
    """By batch size; the one that was asked for is always there."""
    memory: dict[str, Memory | NotRun]
    operators: dict[str, OperatorTimes | NotRun | None]
    placement: dict[str, tuple[Placed, ...] | NotRun | None]
    roofline: Roofline | None


def profile(subjects: Sequence[Given], asked: Asked, announce: Announce = lambda told: None) -> ProfileReport:
    """Measure every subject on every engine asked for.

    Raises ValueErrors of one line for names, checkpoints or files that cannot be used; an engine that is not here, or
    that fails, is a NotRun in the report. Memory is measured in new processes, which import the main program again:
    a script that asks for it needs the usual `if __name__ == "__main__"`.
    """
    contestants, before = line_up(subjects, asked.backends), load_average()
    found = _measured(contestants, asked, announce)
    ran = _ran(found.taken[asked.batch])
    return ProfileReport(
        schema=SCHEMA,
        fuseport=packages.version("fuseport"),
        conditions=_conditions(asked, before),
        entrants=tuple(_entrant(each, found, asked) for each in contestants),
        verdict=verdict(ran),
        roofline=found.roofline,
    )


def _measured(contestants: Sequence[Contestant], asked: Asked, announce: Announce) -> _Found:
    """Memory first, while this process is small; then all latencies; then what disturbs them."""
    peaks = {}
    for each in contestants if asked.memory else ():
        announce(f"memory of {each.name}")
        peaks[each.name] = memory(each, threads=asked.threads, batch=asked.batch, seed=asked.plan.seed)
    with torch_threads(asked.threads):
        opened = {}
        for each in contestants:
            announce(f"load {each.name}")
            opened[each.name] = open_contestant(each, asked.threads)
        taken = {
            size: _latencies(opened, size, asked, announce) for size in dict.fromkeys((asked.batch, *asked.throughput))
        }
        operators, placement = {}, {}
        for name, ready in opened.items() if asked.operators else ():
            announce(f"operators of {name}")
            operators[name], placement[name] = _operators(ready, asked), _placement(ready)
        if asked.roofline:
            announce("roofline of this machine")
        return _Found(opened, taken, peaks, operators, placement, roofline(asked.threads) if asked.roofline else None)


def _latencies(opened: dict[str, Ready | NotRun], batch: int, asked: Asked, announce: Announce) -> Taken:
    """Everyone by turns at one batch size; who does not take it, or fails in the first call, does not take part."""
    announce(f"first call of each, batch {batch}")
    tried = {name: _first_call(ready, batch, asked.plan.seed) for name, ready in opened.items()}
    calls = {name: first.call for name, first in tried.items() if isinstance(first, _First)}
    if not calls:
        return {name: first for name, first in tried.items() if isinstance(first, NotRun)}
    announce(f"measure by turns, batch {batch}")
    rest = replace(asked.plan, warmup=max(0, asked.plan.warmup - 1))
    found = measure(calls, threads=asked.threads, batch=batch, timed=TIMED, plan=rest)
    return {
        name: first
        if isinstance(first, NotRun)
        else replace(found[name], warmup=rest.warmup + 1, first_ms=first.milliseconds)
        for name, first in tried.items()
    }


@dataclass(frozen=True)
class _First:
    """A call that worked once, in so many milliseconds."""

    call: Callable[[], object]
    milliseconds: float


def _first_call(ready: Ready | NotRun, batch: int, seed: int) -> _First | NotRun:
    if isinstance(ready, NotRun):
        return ready
    inputs = feed(ready.opened.inputs, batch, seed)
    if isinstance(inputs, NotRun):
        return inputs
    call = partial(ready.opened.run, inputs)
    try:
        with quiet("torch"):  # torch.compile talks while it works
            _, milliseconds = timed_once(call)
    except Exception as error:  # engines raise what they like
        return NotRun(f"it failed in its first call: {in_one_line(error)}")
    return _First(call, milliseconds)


def _operators(ready: Ready | NotRun, asked: Asked) -> OperatorTimes | NotRun | None:
    """None where the engine does not tell."""
    if isinstance(ready, NotRun):
        return ready
    backend, given = ready.contestant.backend, ready.contestant.given
    if backend.operators is None:
        return None
    inputs = feed(ready.opened.inputs, asked.batch, asked.plan.seed)
    if isinstance(inputs, NotRun):
        return inputs
    try:
        return backend.operators(given, asked.threads, inputs)
    except Exception as error:  # engines raise what they like
        return NotRun(f"its operators could not be timed: {in_one_line(error)}")


def _placement(ready: Ready | NotRun) -> tuple[Placed, ...] | NotRun | None:
    """None where the engine does not tell."""
    if isinstance(ready, NotRun):
        return ready
    backend = ready.contestant.backend
    if backend.placement is None:
        return None
    try:
        return backend.placement(ready.contestant.given)
    except Exception as error:  # Core ML's plan needs a system that has it
        return NotRun(f"it has no plan of where its operators run: {in_one_line(error)}")


def _entrant(contestant: Contestant, found: _Found, asked: Asked) -> Entrant:
    name, first = contestant.name, found.taken[asked.batch]
    ready, standing = found.opened[name], standings(_ran(first)).get(name)
    work = work_of(contestant, asked.batch) if found.roofline else None
    return Entrant(
        name=name,
        subject=contestant.given.name,
        backend=contestant.backend.name,
        note=contestant.backend.note,
        load_ms=ready.load_ms if isinstance(ready, Ready) else None,
        latency=first[name],
        ratio=standing.ratio if standing else None,
        versus=standing.versus if standing else None,
        throughput=tuple(_throughput(found.taken[size], name, size) for size in asked.throughput),
        memory=found.memory.get(name),
        operators=found.operators.get(name),
        placement=found.placement.get(name),
        work=work,
        roofline=under(found.roofline, work, first[name]) if found.roofline and work else None,
    )


def _throughput(taken: Taken, name: str, batch: int) -> Throughput | NotRun:
    latency, standing = taken[name], standings(_ran(taken)).get(name)
    if isinstance(latency, NotRun):
        return latency
    per_s = batch * 1e3
    return Throughput(
        batch=batch,
        pictures_per_s=per_s / latency.median_ms,
        low=per_s / latency.high_ms,
        high=per_s / latency.low_ms,
        latency=latency,
        ratio=1 / standing.ratio if standing and standing.ratio else None,
    )


def _ran(taken: Taken) -> dict[str, Latency]:
    return {name: latency for name, latency in taken.items() if isinstance(latency, Latency)}


def _conditions(asked: Asked, load_before: float | None) -> Conditions:
    return Conditions(
        taken_at=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(),
        load_before=load_before,
        load_after=load_average(),
        timer_ns=timer_cost_ns(),
        threads=asked.threads,
        batch=asked.batch,
        inputs=INPUTS.format(seed=asked.plan.seed),
        load=LOAD,
        plan=asked.plan,
        versions=_versions(),
    )


def _versions() -> dict[str, str]:
    found = {}
    for name in VERSIONS:
        try:
            found[name] = packages.version(name)
        except packages.PackageNotFoundError:  # an optional one
            continue
    return found
