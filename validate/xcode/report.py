"""The normal form: what every importer makes of its file, and all that the rest of this folder knows of a report.

Times are seconds, sizes bytes, shares fractions of one. What a file does not say is None or empty, never a guess.
Nothing here names a person or a machine unless the caller asked to keep the identifiers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .stage import Stage

ANE, GPU, CPU = "ane", "gpu", "cpu"
UNITS = (ANE, GPU, CPU)
"""The compute units of Apple's devices; a unit that a file names otherwise keeps the file's word."""


@dataclass(frozen=True)
class Source:
    """The file: `format` is a key of `formats.FORMATS`, `sha256` that of its bytes, `name` cleared of identifiers."""

    format: str
    name: str
    sha256: str
    bytes: int
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Feature:
    """An input, output or state of the model, as its metadata describes it ("MultiArray (Float32 1 × 3 × 64 × 64)")."""

    name: str
    description: str
    shape: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Model:
    """The measured model. `histogram` is operator type → count, as the file's own metadata counts them."""

    name: str | None = None
    export_id: str | None = None
    kind: str | None = None
    bytes: int | None = None
    compute_precision: str | None = None
    storage_precision: str | None = None
    inputs: tuple[Feature, ...] = ()
    outputs: tuple[Feature, ...] = ()
    histogram: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Device:
    """Where it ran. `units` are the compute units that the device offers; empty when the file does not list them."""

    model: str | None = None
    os: str | None = None
    kind: str | None = None
    storage: str | None = None
    units: tuple[str, ...] = ()
    identifiers: Mapping[str, str] = field(default_factory=dict)
    """Nickname, serial number and so on; empty unless the caller asked to keep them."""


@dataclass(frozen=True)
class Config:
    """How it ran. `units` is the setting in words, `allowed` the units it lets the runtime use (None: unknown)."""

    units: str | None = None
    allowed: tuple[str, ...] | None = None
    iterations: int | None = None
    loads: int | None = None
    predictions: int | None = None
    threads: int | None = None


@dataclass(frozen=True)
class Operation:
    """One operation that the runtime dispatches (constants are not), in program order.

    `block` is "" at the top level of its function and "NAME[i]" inside the i-th block of the operation NAME.
    `weight` is its relative cost as the file gives it; `seconds` is a measured time per run, where a file has one.
    `refusals` says for a unit that cannot run it what the file says of the reason.
    """

    name: str
    type: str
    outputs: tuple[str, ...] = ()
    function: str = "main"
    block: str = ""
    opset: str | None = None
    unit: str | None = None
    eligible: tuple[str, ...] = ()
    refusals: tuple[tuple[str, str], ...] = ()
    weight: float | None = None
    seconds: float | None = None
    parameter: str | None = None
    """Name of the constant bound to the operation's weight: the PyTorch parameter's path with underscores."""


@dataclass(frozen=True)
class Report:
    """One measurement of one model on one device.

    `stages` has some of the keys compile, load.uncached, load.cached, load.all, warmup, predict. `listed` counts all
    operations of the program, constants included. `ran_at` is UTC, ISO 8601.
    """

    source: Source
    model: Model
    device: Device
    config: Config
    stages: Mapping[str, Stage]
    operations: tuple[Operation, ...] = ()
    listed: int = 0
    ran_at: str | None = None
    facts: Mapping[str, float] = field(default_factory=dict)
    """Further figures of the file, with the unit in the name: peak_memory_bytes, requests_per_second."""
    warnings: tuple[str, ...] = ()
    unknowns: tuple[str, ...] = ()
    """What a reader would ask and this format cannot answer: Xcode version, temperature, power mode."""
