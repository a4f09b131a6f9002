"""Which PyTorch module an operation of a saved file came from.

Our ONNX files say so at every node. Those of others do in their exporter's way: torch.onnx notes the modules around an
operator, and older versions of it named nodes after them. A Core ML package has no place for it: the export's report
beside the package does, if its export id is the package's.
"""

from __future__ import annotations

from ast import literal_eval
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...validate.xcode.document import ReportError
from ...validate.xcode.manifest import read_records
from ..formats.to_onnx import MODULE

SCOPES = "pkg.torch.onnx.name_scopes"
EXPORT_ID = "fuseport.export_id"


def modules_of_onnx(nodes: Iterable[Any]) -> dict[str, str]:
    """Node name and names of its outputs → module path, for nodes of an ONNX graph."""
    known = {}
    for node in nodes:
        if (path := _path(node)) is not None:
            known |= dict.fromkeys([name for name in (node.name, *node.output) if name], path)
    return known


def nodes_in(path: Path) -> tuple[Any, ...]:
    """The nodes of an ONNX file's graph, in its order; its weights are not read."""
    import onnx

    return tuple(onnx.load(path, load_external_data=False).graph.node)


def modules_beside(path: Path, export_id: str | None) -> dict[str, str]:
    """Output name → module path, from the `*.report.json` beside the package that tells of this export; else empty."""
    if not export_id:
        return {}
    for report in sorted(path.absolute().parent.glob("*.report.json")):
        try:
            records = read_records([report])
        except ReportError:  # something else that is called so
            continue
        for record in records:
            same = record.export_id == export_id and record.name == path.stem
            if same and record.format in (None, "coreml"):  # an ONNX file of the same export has other names
                return dict(record.modules)
    return {}


def _path(node: Any) -> str | None:
    """None where the node does not tell."""
    notes = {note.key: note.value for note in node.metadata_props}
    if MODULE in notes:
        return notes[MODULE]
    if SCOPES in notes:
        return _innermost(notes[SCOPES])
    scopes = node.name.strip("/").split("/")[:-1] if node.name.startswith("/") else []
    return ".".join(scopes[-1:]) or None


def _innermost(scopes: str) -> str | None:
    """The module around an operator, in the list that torch.onnx notes: the last but one, before the operator."""
    try:
        found = literal_eval(scopes)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return found[-2] if isinstance(found, list) and len(found) > 1 and isinstance(found[-2], str) else None
