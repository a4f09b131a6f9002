"""The sample reports, as bytes, as decoded documents to change, and in the normal form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fuseport.validate.xcode import Document, Report, read_report

FOLDER = Path(__file__).parent / "samples" / "xcode"
PHONE = FOLDER / "tinynet-Demo Phone.mlperf" / "report.json"
MAC = FOLDER / "tinynet-mac-cpu-only.report.json"
PERSONAL = ("Demo Phone", "SYNTHETIC01", "00000000-0000000000000000", "Users/demo")
EXPECTED: dict[str, Any] = json.loads((FOLDER / "expected.json").read_text())
MODULES: dict[str, str] = EXPECTED["torch_module_by_op_output"]


def phone() -> dict[str, Any]:
    """The phone's report, decoded anew: change it as you like."""
    return json.loads(PHONE.read_bytes())


def main_block(document: dict[str, Any]) -> dict[str, Any]:
    """The block of the function `main`."""
    return document["deviceResults"]["modelStructure"]["program"]["_0"]["functions"]["main"]["block"]


def dispatched(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The operations of `main` that carry a cost."""
    return [operation for operation in main_block(document)["operations"] if "cost" in operation]


def read(document: Any, label: str = "report.json", **options: bool) -> Report:
    """A document (bytes, or a value that is printed as JSON) in the normal form."""
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    return read_report(Document(data, label), **options)


def export_report(folder: Path, **changes: Any) -> Path:
    """An export report of the sample's model, as the exporter writes it, with `changes` to its artifact."""
    operations = {"conv": 5, "gelu": 2, "add": 2, "reduce_mean": 1, "layer_norm": 1, "linear": 1, "softmax": 1}
    artifact = {
        "format": "coreml",
        "path": "tinynet.mlpackage",
        "bytes": 16126,
        "export_id": "demo-0001",
        "operations": operations | {"topk": 1, "cast": 1},
        "modules": MODULES,
    }
    path = folder / "tinynet.report.json"
    path.write_text(json.dumps({"variant": "tinynet", "results": [{"artifact": artifact | changes}]}))
    return path
