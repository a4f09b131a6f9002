"""One float32 package of the model, run with any of its operators in float16 and held against the model.

The package is converted by the passes that a float16 one goes through, with nothing rounded. So it has the operators of
the float16 file, and a trial (see `mil/narrow.py`) tells what the file would compute, for the price of a forward.
An *operator* here is a node of the legalized program: what coremltools makes of it is rounded together or not at all.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch.export import ExportedProgram
from torch.fx import Node

from ... import mil
from ...mil.interpreter import Watch
from ...mil.narrow import WIDE, Narrowing
from ...models.tokens.choose import in_decision
from ...reparam.graph import operator_name
from ...validate.excess import excess_of
from ...validate.parity import predict
from ...validate.verdict import Tolerance
from ..artifact import Artifact
from ..formats import to_coreml
from ..lowering.legalize import legalized, module_paths
from ..request import Request
from ..source_line import source_line
from ..subject import Subject, Values


@dataclass(frozen=True)
class Operator:
    """A node of the legalized program, and the operations (by first result) that stand for it in the package."""

    name: str
    operator: str
    module: str
    source: str
    operations: tuple[str, ...]


@dataclass(frozen=True)
class Bench:
    """What trials need: the package in the executor, its operators in order of execution, inputs and right answers.

    `unnamed` are operations that came from no node, which a float16 file has in float16 whatever is asked for.
    """

    narrowing: Narrowing
    artifact: Artifact
    operators: tuple[Operator, ...]
    unnamed: tuple[str, ...]
    feed: Values
    truth: Values
    reference: Values
    tolerance: Tolerance | None

    def run(
        self, narrow: Collection[int], rows: slice = slice(None), watch: Watch | None = None
    ) -> dict[str, np.ndarray]:
        """The outputs for the samples of `rows`, the operators numbered in `narrow` in float16."""
        names = [*self.unnamed, *(name for number in narrow for name in self.operators[number].operations)]
        wanted = {output.name for output in self.artifact.outputs if output.kind == "tensor"}
        pictures = {given.name for given in self.artifact.inputs if given.kind == "image"}

        def once(feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            given = {name: value[0] if name in pictures else value for name, value in feed.items()}
            found = self.narrowing.predict(given, names, watch)
            return {name: np.asarray(value) for name, value in found.items() if name in wanted}

        size = self.artifact.inputs[0].shape[0]
        feed = {name: value[rows] for name, value in self.feed.items()}
        return predict(once, feed, batch=size if isinstance(size, int) else None)

    def excess(self, narrow: Collection[int], rows: slice = slice(None)) -> float:
        """The error of such a run in units of the bound; infinite where it is not finite."""
        given = self.run(narrow, rows)
        truth, reference = ({n: v[rows] for n, v in run.items()} for run in (self.truth, self.reference))
        return excess_of(truth, reference, given, "float16", self.tolerance)


def bench(
    program: ExportedProgram,
    subject: Subject,
    feed: Values,
    truth: Values,
    request: Request,
    folder: Path,
    tolerance: Tolerance | None,
) -> Bench:
    """Convert `program` for trials, into `folder`. `feed` is laid out as the package takes it."""
    everything = tuple(node.name for node in legalized(program).graph.nodes)
    legal = legalized(program, precision="float16", float32=everything)
    wide = replace(request, precision="float16", float32=everything, labels=None)
    artifact, nodes = to_coreml.convert_traced(
        program,
        folder / f"float32{to_coreml.SUFFIX}",
        wide,
        {},
        input_names=subject.input_names,
        output_names=subject.output_names,
        export_id="",
    )
    model = mil.load(artifact.path)
    operators, unnamed = _operators(model, nodes, legal)
    return Bench(Narrowing(model), artifact, operators, unnamed, feed, truth, subject.reference, tolerance)


def _operators(
    model: mil.Model, nodes: Mapping[str, str], legal: ExportedProgram
) -> tuple[tuple[Operator, ...], tuple[str, ...]]:
    """Operators in order, but for those that stay in float32 in any file; and operations without a node."""
    found: dict[str, list[str]] = {}
    unnamed: list[str] = []
    for operation in model.function.block.walk():
        if operation.type == "const" or operation.type in WIDE:
            continue
        node = nodes.get(operation.name)
        if node is None:
            unnamed.append(operation.name)
        else:
            found.setdefault(node, []).append(operation.name)
    by_name: dict[str, Node] = {node.name: node for node in legal.graph.nodes}
    paths = module_paths(legal)
    return tuple(
        Operator(name, operator_name(by_name[name]), paths[name], source_line(by_name[name]), tuple(operations))
        for name, operations in found.items()
        if not in_decision(by_name[name])
    ), tuple(unnamed)
