"""A report's `modelMetadata` → the measured model.

Most of it lies in `rawMetadata`, a text that holds the compiled model's own metadata as JSON. The user-defined
metadata travels along, so the id that an exporter wrote into the artifact comes back in every report of it.
"""

from __future__ import annotations

import json
from typing import Any

from .document import clean, read_count
from .report import Feature, Model

_COREMLTOOLS = "com.github.apple.coremltools."
_VERSION_KEYS = {"coremltools": f"{_COREMLTOOLS}version", "source": f"{_COREMLTOOLS}source"}


def read_model(metadata: dict[str, Any], oddities: list[str]) -> Model:
    """The model as the report describes it. Only its size makes a figure; other parts of a wrong type are odd."""
    raw = _raw_metadata(metadata.get("rawMetadata"), oddities)
    user = raw.get("userDefinedMetadata")
    user = {clean(k): clean(v) for k, v in user.items() if isinstance(v, str)} if isinstance(user, dict) else {}
    size = metadata.get("size")
    return Model(
        name=described(metadata, "fileName", oddities),
        export_id=export_id(user),
        kind=described(metadata, "modelType", oddities),
        bytes=None if size is None else read_count(size, "modelMetadata.size"),
        compute_precision=described(raw, "computePrecision", oddities),
        storage_precision=described(raw, "storagePrecision", oddities),
        inputs=_features(raw.get("inputSchema")),
        outputs=_features(raw.get("outputSchema")),
        histogram=_histogram(raw.get("mlProgramOperationTypeHistogram"), oddities),
        versions={key: user[name] for key, name in _VERSION_KEYS.items() if name in user},
    )


def export_id(user: dict[str, str]) -> str | None:
    """The exporter's id in the model's user-defined metadata: `fuseport.export_id`, or the only `….export_id`."""
    if "fuseport.export_id" in user:
        return user["fuseport.export_id"]
    ids = {value for key, value in user.items() if key == "export_id" or key.endswith(".export_id")}
    return ids.pop() if len(ids) == 1 else None


def described(part: dict[str, Any], key: str, oddities: list[str]) -> str | None:
    """A text that describes and makes no figure: another type is odd, not fatal."""
    value = part.get(key)
    if value is None or isinstance(value, str):
        return clean(value) if value else None
    oddities.append(f"{key} that is no text")
    return None


def is_constant(operator: str) -> bool:
    """Whether an operator type, as MIL or Core ML spells it (`constexpr_…`, `Ios18.constexpr…`), is a constant."""
    name = operator.rpartition(".")[2].lower()
    return name == "const" or name.startswith("constexpr")


def _raw_metadata(value: Any, oddities: list[str]) -> dict[str, Any]:
    """The compiled model's metadata: a text that holds JSON, an array of one object."""
    if value is None:
        return {}
    try:
        decoded = json.loads(value)
        if isinstance(decoded[0], dict):
            return decoded[0]
    except (TypeError, ValueError, KeyError, IndexError, RecursionError):
        pass
    oddities.append("modelMetadata.rawMetadata that is not an array of one object")
    return {}


def _features(schema: Any) -> tuple[Feature, ...]:
    features = schema if isinstance(schema, list) else []
    return tuple(
        Feature(clean(f["name"]), described(f, "formattedType", []) or "", _shape(f.get("shape")))
        for f in features
        if isinstance(f, dict) and isinstance(f.get("name"), str)
    )


def _shape(text: Any) -> tuple[int, ...] | None:
    """ "[1, 3, 64, 64]" → (1, 3, 64, 64)."""
    if not isinstance(text, str):
        return None
    words = [word.strip() for word in text.strip(" []").split(",")]
    return tuple(int(w) for w in words) if all(w.isdecimal() and len(w) < 19 for w in words) else None


def _histogram(value: Any, oddities: list[str]) -> dict[str, int]:
    if value is None:
        return {}
    if isinstance(value, dict) and all(type(n) is int and 0 <= n <= 2**62 for n in value.values()):
        return {clean(key): count for key, count in value.items()}
    oddities.append("mlProgramOperationTypeHistogram that is not type → count")
    return {}
