"""Xcode's Core ML performance report (`report.json` of an `.mlperf` bundle) → the normal form.

Two traps of the format: `numOperations` is how often a stage repeats within an iteration, not the number of
operations of the model; and `load.samples` mixes uncached loads (the first of each iteration) with cached ones.
`startTime` counts seconds from 2001-01-01 UTC. `computeUnit` is the setting in the order of Apple's `MLComputeUnits`,
which is not that of coremltools. The report is read by its keys: versions and keys that no known report has are named
in one warning.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from .document import brief, clean, read_count, read_dict, read_list, read_number, read_seconds
from .metadata import described, is_constant, read_model
from .report import Config, Device, Model, Report, Source
from .stage import Stage
from .structure import Program, read_structure, unit_name

NAME = "xcode"
TITLE = "Xcode Core ML performance report"
KNOWN_VERSIONS = {"jsonVersion": 1, "deviceResultVersion": 4}
SETTINGS = {
    0: ("CPU only", ("cpu",)),
    1: ("CPU and GPU", ("cpu", "gpu")),
    2: ("All", ("cpu", "gpu", "ane")),
    3: ("CPU and Neural Engine", ("cpu", "ane")),
}
UNKNOWNS = (
    "Xcode version",
    "temperature and power mode",
    "input shape used, where the model's is flexible",
    "memory",
    "time inside an app (the runner predicts in an isolated loop)",
)
PERSONAL = ("displayName", "serialNumber", "deviceID")
EPOCH = datetime(2001, 1, 1, tzinfo=UTC)

_KEYS = {
    "": {"jsonVersion", "deviceResultVersion", "deviceInfo", "computeUnit", "modelMetadata", "deviceResults"},
    "deviceInfo": {
        *("modelName", "osNameAndVersionWithoutBuildNumber", "osNameAndVersionWithInternalBuildNumber", "deviceType"),
        *("capacity", "isSupported", "isCloudDevice", *PERSONAL),
    },
    "modelMetadata": {"fileName", "modelType", "size", "functionNames", "modelUrl", "rawMetadata"},
    "deviceResults": {"perfRunConfig", "compile", "load", "predict", "availableComputeDevices", "modelStructure"},
}
_STAGE_KEYS = {"samples", "numOperations", "startTime"}
_RUN_KEYS = {"experimentIterations", "loadCount", "predictionCount"}


def recognises(document: Any) -> bool:
    """Whether the value has the keys of a report: results, and one more of the known keys."""
    return isinstance(document, dict) and "deviceResults" in document and len(document.keys() & _KEYS[""]) > 1


def read(document: dict[str, Any], source: Source, *, keep_identifiers: bool = False) -> Report:
    """The report in the normal form. Raises `ReportError` where a value that makes figures has the wrong type."""
    info, metadata, results = (read_dict(document.get(k), k) for k in ("deviceInfo", "modelMetadata", "deviceResults"))
    oddities = _unknown_keys(document, {"deviceInfo": info, "modelMetadata": metadata, "deviceResults": results})
    warnings: list[str] = []
    program = read_structure(results.get("modelStructure"))
    oddities += dict.fromkeys(program.oddities)
    config = _read_config(document.get("computeUnit"), results.get("perfRunConfig"), oddities)
    model = read_model(metadata, oddities)
    device = _read_device(info, results, oddities)
    stages = _read_stages(results, config, warnings, oddities)
    ran_at = _run_date(results, oddities)
    if oddities:
        warnings.insert(0, "not known from other reports, read as far as understood: " + _first(oddities, 6))
    return Report(
        source=source,
        model=model,
        device=device if not keep_identifiers else _identified(device, info, metadata),
        config=config,
        stages=stages,
        operations=tuple(program.operations),
        listed=program.listed,
        ran_at=ran_at,
        warnings=(*warnings, *_doubts(program, model)),
        unknowns=UNKNOWNS,
    )


def _unknown_keys(document: dict[str, Any], parts: Mapping[str, dict[str, Any]]) -> list[str]:
    oddities = []
    for key, known in KNOWN_VERSIONS.items():
        found = document.get(key)
        if found != known:
            said = "missing" if found is None else brief(found)
            oddities.append(f"{key} {said} (known: {known})")
    for name, known in _KEYS.items():
        unknown = (parts[name] if name else document).keys() - known
        oddities += sorted(f"key {name}{'.' if name else ''}{clean(key)}" for key in unknown)
    return oddities


def _read_config(setting: Any, run: Any, oddities: list[str]) -> Config:
    run = read_dict(run, "perfRunConfig")
    oddities += sorted(f"key perfRunConfig.{clean(key)}" for key in run.keys() - _RUN_KEYS)
    units, allowed = SETTINGS.get(setting, (None, None)) if type(setting) is int else (None, None)
    if units is None and setting is not None:
        units = f"unknown ({brief(setting)})"
        oddities.append(f"computeUnit {brief(setting)}")
    counts = {key: read_count(run[key], f"perfRunConfig.{key}") for key in _RUN_KEYS if run.get(key) is not None}
    return Config(
        units=units,
        allowed=allowed,
        iterations=counts.get("experimentIterations"),
        loads=counts.get("loadCount"),
        predictions=counts.get("predictionCount"),
    )


def _read_stages(results: dict[str, Any], config: Config, warnings: list[str], oddities: list[str]) -> dict[str, Stage]:
    samples: dict[str, tuple[float, ...]] = {}
    for name in ("compile", "load", "predict"):
        stage = read_dict(results.get(name), name)
        oddities += sorted(f"key {name}.{clean(key)}" for key in stage.keys() - _STAGE_KEYS)
        samples[name] = read_seconds(stage.get("samples"), f"{name}.samples")
        if not samples[name]:
            warnings.append(f"{name}: the file has no samples")
    stages = {}
    if samples["compile"]:
        stages["compile"] = Stage(samples["compile"], _whole(samples["compile"], config.iterations, 1))
    stages |= _split_loads(samples["load"], config, warnings)
    if samples["predict"]:
        per_iteration = _whole(samples["predict"], config.iterations, config.predictions)
        stages["predict"] = Stage(samples["predict"], per_iteration)
        if per_iteration is None:
            warnings.append(_uneven("predict", samples["predict"], config.iterations, config.predictions))
    return stages


def _split_loads(samples: tuple[float, ...], config: Config, warnings: list[str]) -> dict[str, Stage]:
    """Per iteration one uncached load, then `loads - 1` cached ones; unsplit when the count does not fit."""
    if not samples:
        return {}
    loads = _whole(samples, config.iterations, config.loads)
    if loads is None:
        uneven = _uneven("load", samples, config.iterations, config.loads)
        warnings.append(f"{uneven}, cached and uncached loads not told apart")
        return {"load.all": Stage(samples)}
    cached = tuple(s for i, s in enumerate(samples) if i % loads)
    stages = {"load.uncached": Stage(samples[::loads], 1), "load.all": Stage(samples, loads)}
    return stages | ({"load.cached": Stage(cached, loads - 1)} if cached else {})


def _whole(samples: tuple[float, ...], iterations: int | None, repeats: int | None) -> int | None:
    """`repeats` when the samples are exactly that many per iteration."""
    return repeats if iterations and repeats and len(samples) == iterations * repeats else None


def _uneven(name: str, samples: tuple[float, ...], iterations: int | None, repeats: int | None) -> str:
    plan = f"{iterations} × {repeats}" if iterations and repeats else "an unstated number"
    return f"{name}: {len(samples)} samples where {plan} were planned; taken as one series, no figures per iteration"


def _run_date(results: dict[str, Any], oddities: list[str]) -> str | None:
    """Start of the last stage's last sample: good as the run's date."""
    for name in ("predict", "load", "compile"):
        start = read_dict(results.get(name), name).get("startTime")
        if start is None:
            continue
        seconds = read_number(start, f"{name}.startTime")
        if 0 < seconds < 4e9:
            return (EPOCH + timedelta(seconds=seconds)).isoformat(timespec="seconds")
        oddities.append(f"{name}.startTime outside 2001 to 2127")
    return None


def _read_device(info: dict[str, Any], results: dict[str, Any], oddities: list[str]) -> Device:
    kinds = info.get("deviceType")
    available = read_list(results.get("availableComputeDevices"), "availableComputeDevices")
    units = [unit_name(device, "availableComputeDevices", oddities) for device in available]
    return Device(
        model=described(info, "modelName", oddities),
        os=described(info, "osNameAndVersionWithoutBuildNumber", oddities),
        kind=clean(next(iter(kinds))) if isinstance(kinds, dict) and len(kinds) == 1 else None,
        storage=described(info, "capacity", oddities),
        units=tuple(unit for unit in units if unit),
    )


def _identified(device: Device, info: dict[str, Any], metadata: dict[str, Any]) -> Device:
    private = {key: info.get(key) for key in PERSONAL} | {"modelUrl": metadata.get("modelUrl")}
    identifiers = {key: clean(value) for key, value in private.items() if isinstance(value, str)}
    return Device(device.model, device.os, device.kind, device.storage, device.units, identifiers)


def _doubts(program: Program, model: Model) -> list[str]:
    doubts = []
    total = sum(op.weight or 0.0 for op in program.operations)
    if program.operations and abs(total - 1) > 0.01:
        doubts.append(f"cost weights sum to {total:.4g}, not 1: shares are taken of that sum")
    counted = sum(n for key, n in model.histogram.items() if not is_constant(key))
    if model.histogram and counted != len(program.operations):
        doubts.append(f"the model's metadata counts {counted} operations, the report places {len(program.operations)}")
    return doubts


def _first(items: list[str], n: int) -> str:
    return "; ".join(items[:n]) + (f"; and {len(items) - n} more" if len(items) > n else "")
