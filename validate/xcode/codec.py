"""The normal form as JSON, and back: what the store keeps and `--json` prints.

The field names are those of the dataclasses in `report.py`; an operation's fields that say nothing are left out.
`SCHEMA` goes up when a reader of the old form would misread the new one.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from .report import Config, Device, Feature, Model, Operation, Report, Source
from .stage import Stage

SCHEMA = "fuseport.performance/1"


def to_dict(report: Report) -> dict[str, Any]:
    """The report in values that `json.dumps` takes; times in seconds."""
    return {
        "schema": SCHEMA,
        "source": vars(report.source) | {"versions": dict(report.source.versions)},
        "model": vars(report.model)
        | {
            "inputs": [vars(f) for f in report.model.inputs],
            "outputs": [vars(f) for f in report.model.outputs],
            "histogram": dict(report.model.histogram),
            "versions": dict(report.model.versions),
        },
        "device": vars(report.device) | {"identifiers": dict(report.device.identifiers)},
        "config": vars(report.config),
        "stages": {name: _stage_to_dict(stage) for name, stage in report.stages.items()},
        "operations": [_operation_to_dict(op) for op in report.operations],
        "listed": report.listed,
        "ran_at": report.ran_at,
        "facts": dict(report.facts),
        "warnings": list(report.warnings),
        "unknowns": list(report.unknowns),
    }


def from_dict(value: dict[str, Any]) -> Report:
    """The report of a dictionary that `to_dict` made. Raises ValueError for anything else."""
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise ValueError(f"expected {SCHEMA}, found {str(value)[:60]}")
    try:
        return Report(
            source=Source(**value["source"]),
            model=_model(value["model"]),
            device=Device(**value["device"] | {"units": tuple(value["device"]["units"])}),
            config=Config(**value["config"] | {"allowed": _tuple(value["config"]["allowed"])}),
            stages={name: _stage(stage) for name, stage in value["stages"].items()},
            operations=tuple(_operation(op) for op in value["operations"]),
            listed=value["listed"],
            ran_at=value["ran_at"],
            facts=value["facts"],
            warnings=tuple(value["warnings"]),
            unknowns=tuple(value["unknowns"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"a report that is not in the form {SCHEMA}: {error}") from None


_DEFAULTS = {field.name: field.default for field in fields(Operation)}


def _operation_to_dict(op: Operation) -> dict[str, Any]:
    return {key: value for key, value in vars(op).items() if value != _DEFAULTS[key]}


def _stage_to_dict(stage: Stage) -> dict[str, Any]:
    return {
        "samples": list(stage.samples),
        "per_iteration": stage.per_iteration,
        "stated": dict(stage.stated),
        "count": stage.count,
    }


def _stage(value: dict[str, Any]) -> Stage:
    return Stage(tuple(value["samples"]), value["per_iteration"], value["stated"], value["count"])


def _model(value: dict[str, Any]) -> Model:
    parts: dict[str, Any] = dict(value)
    for key in ("inputs", "outputs"):
        parts[key] = tuple(Feature(f["name"], f["description"], _tuple(f["shape"])) for f in value[key])
    return Model(**parts)


def _operation(value: dict[str, Any]) -> Operation:
    parts: dict[str, Any] = dict(value)
    parts |= {key: tuple(value.get(key, ())) for key in ("outputs", "eligible")}
    parts["refusals"] = tuple((unit, reason) for unit, reason in value.get("refusals", ()))
    return Operation(**parts)


def _tuple(value: list[Any] | None) -> tuple[Any, ...] | None:
    return None if value is None else tuple(value)
