"""The folder of a Core ML model, made the same from run to run.

    NAME.mlpackage/Manifest.json                           which item is the model
                   Data/com.apple.CoreML/model.mlmodel     protobuf: the program and its description
                   Data/com.apple.CoreML/weights/weight.bin

coremltools writes random identifiers into the manifest. Here they are UUIDs of version 5, made from the content of the
item they stand for, and the protobuf is serialised with its maps in order.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .artifact import sha256_on_disk

if TYPE_CHECKING:
    from google.protobuf.message import Message

MODEL = Path("com.apple.CoreML/model.mlmodel")
DATA = Path("Data")
MANIFEST = Path("Manifest.json")


def finish(package: Path, spec: Message) -> None:
    """Put `spec` (a Model) in the place of the package's model file, and give it a manifest that follows from it."""
    (package / DATA / MODEL).write_bytes(spec.SerializeToString(deterministic=True))
    manifest: dict[str, Any] = json.loads((package / MANIFEST).read_text())
    items = sorted(manifest["itemInfoEntries"].values(), key=lambda item: item["path"])
    by_identifier = {_identifier(package / DATA / item["path"], item["path"]): item for item in items}
    root = next(name for name, item in by_identifier.items() if Path(item["path"]) == MODEL)
    entries = {"fileFormatVersion": manifest["fileFormatVersion"], "itemInfoEntries": by_identifier}
    text = json.dumps({**entries, "rootModelIdentifier": root}, indent=4, sort_keys=True)
    (package / MANIFEST).write_text(text + "\n")


def _identifier(item: Path, name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{name}?sha256={sha256_on_disk(item)}"))
