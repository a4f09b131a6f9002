"""The nouns of a conversion: the file that was written, its tensors, and a stage that could not run here.

Beside them the verbs that make them: what a captured program takes and gives, its content-derived id, and the hash of
what lies on the disk.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from .request import Request

BATCH = "batch"
"""The name of an open batch dimension, in a TensorSpec and in the file."""


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of an artifact. A shape entry is an int, or a name such as "batch" where it is open."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str
    kind: str = "tensor"
    """"tensor"; "image" (a picture of 0..255, uint8, laid out as `shape` says); "label" (the name of the most probable
    class, dtype "string") or "probabilities" (class name → probability)."""


@dataclass(frozen=True)
class Artifact:
    """A saved model file (for Core ML a folder), as it lies on the disk."""

    path: Path
    format: str
    precision: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    bytes: int
    sha256: str
    operations: dict[str, int]
    """Operator type → count; constants are not counted."""
    export_id: str
    modules: dict[str, str]
    """Name of an operation's output in the file → path of the PyTorch module that it came from."""
    versions: dict[str, str]
    details: dict[str, object]
    """What only this format has to say: opset, deployment target, external data, simplified or not and why."""

    @property
    def operation_count(self) -> int:
        return sum(self.operations.values())


@dataclass(frozen=True)
class NotRun:
    """A stage that could not run here, as a value."""

    reason: str


class NotConverted(ValueError):
    """This program cannot become this format with these options; the message is one line that says why."""


def export_id(program: ExportedProgram, request: Request) -> str:
    """16 hex digits that follow from the weights, the graph and the options alone: equal content, equal id."""
    import torch

    digest = hashlib.sha256(program.graph_module.code.encode())
    asked = {name: value for name, value in asdict(request).items() if name != "float32" or value}
    digest.update(json.dumps(asked, sort_keys=True).encode())
    for name, value in sorted([*program.state_dict.items(), *program.constants.items()]):
        if isinstance(value, torch.Tensor):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def batch_symbol(program: ExportedProgram) -> str | None:
    """The symbol of the size that the capture left open ("s77"), or None. Raises NotConverted if there are more."""
    symbols = sorted(str(symbol) for symbol in program.range_constraints)
    if len(symbols) > 1:
        raise NotConverted(
            f"only the batch may be open, but the captured model has the open sizes {', '.join(symbols)}; "
            "give the other inputs the same batch, and no size that depends on the data"
        )
    return symbols[0] if symbols else None


def check_batch(program: ExportedProgram, request: Request) -> None:
    """Raise NotConverted where the batch was captured open and asked for fixed, or the other way round."""
    if (captured := batch_symbol(program) is not None) != (request.batch is not None):
        words = ("fixed", "open")
        raise NotConverted(
            f"asked for {words[not captured]} batch, but the model was captured with {words[captured]} batch"
        )


def program_inputs(program: ExportedProgram, names: Sequence[str]) -> tuple[TensorSpec, ...]:
    """The inputs that the user gives to a captured program, under the names asked for."""
    return _named(program, program.graph_signature.user_inputs, names, "input")


def program_outputs(program: ExportedProgram, names: Sequence[str]) -> tuple[TensorSpec, ...]:
    """The outputs of a captured program, under the names asked for."""
    return _named(program, program.graph_signature.user_outputs, names, "output")


def _named(
    program: ExportedProgram, found: Collection[object], names: Sequence[str], what: str
) -> tuple[TensorSpec, ...]:
    if len(found) != len(names) or len(set(names)) != len(names):
        raise NotConverted(f"expected {len(found)} different {what} names, but got {', '.join(names) or 'none'}")
    nodes = {node.name: node for node in program.graph.nodes}
    values: list[Any] = [nodes[name].meta["val"] if isinstance(name, str) else None for name in found]
    if not all(hasattr(value, "shape") for value in values):
        raise NotConverted(f"expected a tensor for each {what}, but the model has a constant or None among them")
    symbol = batch_symbol(program)

    def size(value: object) -> int | str:
        return value if isinstance(value, int) else re.sub(rf"\b{symbol}\b", BATCH, str(value))

    return tuple(
        TensorSpec(name, tuple(size(entry) for entry in value.shape), str(value.dtype).removeprefix("torch."))
        for name, value in zip(names, values, strict=True)
    )


def in_one_line(error: BaseException) -> str:
    """What a long-winded exception says at its root: the first line of the deepest cause, at most 300 characters."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]


def sha256_on_disk(*paths: Path, instead: Mapping[Path, bytes] | None = None) -> str:
    """The sha256 of a file; of a folder, or of several, that of the list of their files' hashes and names.

    `instead` has the content that single files are taken to have.
    """
    named = sorted((file.relative_to(path.parent).as_posix(), file) for path in paths for file in files_of(path))
    known = {file: hashlib.sha256(content).hexdigest() for file, content in (instead or {}).items()}
    if len(paths) == 1 and paths[0].is_file():
        return known.get(paths[0]) or _sha256(paths[0])
    listing = "".join(f"{known.get(file) or _sha256(file)}  {name}\n" for name, file in named)
    return hashlib.sha256(listing.encode()).hexdigest()


def files_of(path: Path) -> list[Path]:
    """The file itself, or every file under the folder."""
    return [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
