"""The nouns of the engines: one that could run something, and what it is when it is ready to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ..artifact import TensorSpec
from ..cost import Total
from ..given import Given, Kind
from ..profile.profile_report import OperatorTimes, Placed
from ..subject import Values

Chosen = Literal["always", "when present", "on request"]


class CannotRun(ValueError):
    """This engine cannot run this subject here; the message is one line that says why."""


@dataclass(frozen=True)
class Opened:
    """A subject, loaded. `run` takes the inputs by name and gives whatever the engine gives; its time is measured."""

    inputs: tuple[TensorSpec, ...]
    run: Callable[[Values], object]


@dataclass(frozen=True)
class Backend:
    """An engine, under the name that `--backend` takes.

    `open(given, threads)` loads a subject (its time is the cold load) and may raise CannotRun, or the errors of
    whatever loads it; `missing()` loads the engine's library and says why it cannot be used here, "" if it can.
    `chosen`: whether it is taken without being asked for.
    """

    name: str
    title: str
    takes: Kind
    open: Callable[[Given, int], Opened]
    missing: Callable[[], str]
    chosen: Chosen
    note: str = ""
    """What must be known before its figures are compared with those of others."""
    operators: Callable[[Given, int, Values], OperatorTimes] | None = None
    """(subject, threads, inputs) → the time of every operator, where this engine tells it."""
    placement: Callable[[Given], tuple[Placed, ...]] | None = None
    """Which operation runs on which device, where this engine tells it."""
    count: Callable[[Given], Total] | None = None
    """What it has to compute, where that is not what `fuseport cost` counts for the subject; may raise CannotRun."""
