"""Which operators of a float16 file stay in float32: the answer of a search, as data that can be used again.

It is a field of the report and a file of its own, NAME.precision.json; `--precision-file` takes either. A plan holds
for one graph, which it names by a hash of the operators and their order: other weights of the same model may use it
(their file is checked as any other), another model may not.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.export import ExportedProgram

SCHEMA = "fuseport.precision/1"
FIELD = "mixed_precision"
"""The plan's place in a report."""

LARGEST_FILE = 256 * 2**20


class PlanError(ValueError):
    """A precision file that cannot be used; the message says what was expected, what came, and what to do next."""


@dataclass(frozen=True)
class Kept:
    """An operator (a node of the legalized program) that stays in float32, with the reason in words and figures."""

    name: str
    operator: str
    module: str
    source: str
    cause: str
    """overflow, underflow or rounding."""
    told: str
    largest: float
    """The largest magnitude of what it reads and gives, in float32; the range of float16 ends at 65504."""
    alone: float | None
    """The error, in units of the bound, if this operator alone were in float16; None where that is not finite."""


@dataclass(frozen=True)
class Plan:
    """The operators to keep, and what they cost."""

    schema: str
    variant: str
    graph: str
    float32: tuple[Kept, ...]
    operators: int
    """How many operators the program has that could be in either precision."""
    excess: float | None
    """The error that is left, in units of the bound, as the search estimated it; None if it is not finite."""
    extra_bytes: int
    """By how much the file is larger than the plain float16 one."""
    trials: int
    reason: str

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(kept.name for kept in self.float32)

    def describe(self) -> str:
        """The plan in one line."""
        if not self.float32:
            return self.reason
        named = [f"{kept.name} in {kept.module or 'the model'}: {kept.told}" for kept in self.float32[:3]]
        more = f"; and {len(self.float32) - 3} more" if len(self.float32) > 3 else ""
        count = f"{len(self.float32)} of {self.operators} operators stay in float32 ({self.extra_bytes:+,} bytes)"
        return f"{count}: {'; '.join(named)}{more}"


def graph_id(legal: ExportedProgram) -> str:
    """16 hex digits that follow from the names, kinds and order of a program's operators; not from weights or sizes."""
    told = "\n".join(
        f"{node.name} {node.op} {node.target if node.op == 'call_function' else ''}" for node in legal.graph.nodes
    )
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def read_plan(path: Path) -> tuple[str, str, tuple[str, ...]]:
    """The variant, graph and operator names of a precision file or a report. Raises PlanError."""
    plan = _plan_in(_read(path), path)
    kept, variant, graph = plan.get("float32"), plan.get("variant"), plan.get("graph")
    names = [entry.get("name") for entry in kept if isinstance(entry, dict)] if isinstance(kept, list) else None
    if names is None or not all(isinstance(text, str) for text in (variant, graph, *names)):
        raise PlanError(
            f"{path}: expected the texts variant and graph, and float32 as a list of operators with a name each; "
            "make it again with --precision auto"
        )
    return str(variant), str(graph), tuple(map(str, names))


def names_for(path: Path, legal: ExportedProgram) -> tuple[str, ...]:
    """The operators that the precision file `path` keeps in float32, all of them in `legal`. Raises PlanError."""
    variant, graph, names = read_plan(path)
    known = {node.name for node in legal.graph.nodes if node.op == "call_function"}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise PlanError(
            f"{path} keeps operators in float32 that this model has not: {', '.join(unknown[:4])}"
            + (f" and {len(unknown) - 4} more" if len(unknown) > 4 else "")
            + f" (it was made for {variant}); make one for this model with --precision auto"
        )
    if graph != graph_id(legal):
        raise PlanError(
            f"{path} was made for another graph ({variant}, {graph}; this one is {graph_id(legal)}), so its names may "
            "mean other operators; make one for this model with --precision auto"
        )
    return names


def _read(path: Path) -> Any:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise PlanError(f"{path}: expected a precision file or a report, got {path.stat().st_size:,} bytes")
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(f"cannot read the precision file {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise PlanError(f"{path}: expected the JSON of a precision file or a report; it is neither") from error


def _plan_in(data: Any, path: Path) -> dict[str, Any]:
    if isinstance(data, dict) and data.get(FIELD, ...) is None:
        raise PlanError(f"{path} is a report of a run without a search; give one of a run with --precision auto")
    found = data.get(FIELD, data) if isinstance(data, dict) else data
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        came = found.get("schema") if isinstance(found, dict) else type(found).__name__
        raise PlanError(f"{path}: expected the schema {SCHEMA}, or a report that holds one; got {came!r}")
    return found
