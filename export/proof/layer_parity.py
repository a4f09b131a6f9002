"""Per-layer parity: the tensors of a saved artifact, joined to the nodes of the captured program, compared in one run.

Tensors are joined by name, which both converters keep from the program; in an artifact of another tool, which has
names of its own, by shape and value (`join_by_value`). A join can be wrong. A name may have come back in another place
(`join_order`), and a converter that fuses two operators may give the result the first one's name. Such a tensor differs
from its node while everything that follows from it is right. So the tensors that jump are let go, and the program is
run again on its own values there: where all that follows then agrees, the join was wrong, and is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram
from torch.fx import Node

from ...mil import Mode
from ...reparam.graph import operator_name
from ...validate.layer_errors import ALLOWED, FEWEST, WEIGHTED, Layer, excess, relative
from ..artifact import Artifact
from ..formats.to_coreml import NAME as COREML
from ..lowering.legalize import kept_wide, legalized, module_paths
from ..saved.points import HELD_BYTES, Opened, in_order, open_points
from ..saved.points import Tensor as Point
from ..source_line import source_line
from .forced import Rounds, run_forced, streams
from .join_by_value import join_by_value, makes_floats, shape_of
from .join_order import in_one_order

MODES: dict[Rounds, Mode] = {"weights": "exact", "all values": "declared"}

MUCH = 1.5
"""By so much what follows must agree better without a tensor that stands for something else."""

SUFFIXES = re.compile(r"_cast_(fp16|fp32)(_\d+)?$")
"""What coremltools adds to a name when it changes the type of an operator."""


@dataclass(frozen=True)
class Comparison:
    """All tensors that could be compared, in the order of the program, and how many could not be joined to a node.

    `strange` is the share of the program's layers with weights whose number of values no tensor of the artifact has: 0
    for a right file but where a converter merged layers, 0.6 to 1 for another model's.
    """

    layers: tuple[Layer, ...]
    unjoined: int
    strange: float


def compare_layers(
    artifact: Artifact,
    program: ExportedProgram,
    feed: Mapping[str, NDArray],
    inputs: Sequence[torch.Tensor],
    *,
    rounds: Rounds = "all values",
    held_bytes: int = HELD_BYTES,
) -> Comparison:
    """Every tensor of `artifact`, run on `feed` (one sample), beside the node of `program` that it stands for.

    `program` is the one that the artifact was converted from, or another capture of the same model; `inputs` is what it
    takes where the artifact takes `feed`. With `rounds` "weights" a Core ML file is run in float64, which shows faults
    of the conversion; with "all values" as it declares, which shows those of its precision. About `held_bytes` of
    the artifact's values are held at a time.
    """
    if artifact.format == COREML:
        program = legalized(program, precision=artifact.precision, float32=kept_in_float32(artifact))
    else:
        rounds = "all values"
    opened = open_points(artifact, feed, mode=MODES[rounds], limit=held_bytes)
    joined = join(opened.tensors, program, [output.name for output in artifact.outputs])
    joined = in_one_order(joined, opened.tensors)
    if 2 * len(joined) < sum(map(makes_floats, program.graph.nodes)):
        joined |= join_by_value(opened, program, inputs, joined)
    run = _Run(artifact, program, opened, inputs, rounds, held_bytes)
    layers = run.compared(joined)
    while jumping := {layer.tensor for layer in layers.values() if layer.jumps}:
        wrong = _misjoined(layers, joined, run.compared(joined, free=jumping))
        if not wrong:
            break
        joined = {tensor: node for tensor, node in joined.items() if tensor not in wrong}
        layers = run.compared(joined)
    return Comparison(tuple(layers.values()), len(opened.tensors) - len(joined), _strange(opened.tensors, program))


def _strange(tensors: Sequence[Point], program: ExportedProgram) -> float:
    """See `Comparison`. A program of few layers has no strange ones, nor does a file that tells few shapes."""
    told = [prod(tensor.shape) for tensor in tensors if tensor.shape]
    layers = [node for node in program.graph.nodes if makes_floats(node) and operator_name(node).startswith(WEIGHTED)]
    if len(layers) < FEWEST or 2 * len(told) < len(tensors):
        return 0.0
    return sum(prod(shape_of(node)) not in set(told) for node in layers) / len(layers)


@dataclass(frozen=True)
class _Run:
    """What it takes to compare, once for each set of joins that is tried."""

    artifact: Artifact
    program: ExportedProgram
    opened: Opened
    inputs: Sequence[torch.Tensor]
    rounds: Rounds
    held_bytes: int

    def compared(self, joined: Mapping[str, Node], free: Collection[str] = ()) -> dict[str, Layer]:
        """Tensor name → layer, in the program's order; those in `free` are compared but not put in."""
        points = {point.name: point for point in self.opened.tensors}
        tensors = {node: points[name] for name, node in joined.items()}
        order = [node for node in self.program.graph.nodes if node in tensors]
        paths = module_paths(self.program)
        allowed = ALLOWED[self.artifact.precision, self.rounds]
        errors: dict[Node, float] = {}
        layers: dict[str, Layer] = {}

        def values() -> Iterator[tuple[Node, torch.Tensor]]:
            for name, value in in_order(self.opened, [tensors[node] for node in order], self.held_bytes):
                yield joined[name], torch.from_numpy(np.asarray(value, np.float64))

        def see(node: Node, ours: torch.Tensor, own: torch.Tensor, forced: torch.Tensor, rounded: torch.Tensor) -> bool:
            if ours.shape != forced.shape:
                return False
            a, t, f, r = (value.detach().to(torch.float64).numpy() for value in (ours, own, forced, rounded))
            errors[node] = relative(a, t)
            point = tensors[node]
            layers[point.name] = Layer(
                tensor=point.name,
                operator=operator_name(node),
                module=paths[node.name],
                source=source_line(node),
                shape=tuple(a.shape),
                error=errors[node],
                inputs_error=_inputs_error(node, errors),
                skipped=_skipped(node, errors),
                added=relative(a, f),
                cost=relative(r, f),
                excess=excess(a, f, r, allowed),
                largest=float(np.abs(f).max(initial=0.0)),
            )
            return point.name not in free

        wide = kept_wide(self.program, kept_in_float32(self.artifact))
        ways = streams(self.artifact.precision, self.rounds, wide)
        run_forced(self.program, self.inputs, ways, values(), see)
        return layers


def kept_in_float32(artifact: Artifact) -> tuple[str, ...]:
    """The nodes that a float16 file of ours was asked to keep in float32."""
    found = artifact.details.get("float32")
    return tuple(map(str, found)) if isinstance(found, (tuple, list)) else ()


def join(tensors: Sequence[Point], program: ExportedProgram, outputs: Sequence[str]) -> dict[str, Node]:
    """Tensor name → node of the program, where the two have one name; an artifact's outputs by their position."""
    nodes = {node.name: node for node in program.graph.nodes if makes_floats(node)}
    results = [str(name) for name in program.graph_signature.user_outputs]
    ends = dict(zip(outputs, results, strict=False))
    joined: dict[str, Node] = {}
    for tensor in tensors:
        name = ends.get(tensor.name) or SUFFIXES.sub("", tensor.name)
        if name in nodes and tensor.shape in ((), shape_of(nodes[name])):
            joined[tensor.name] = nodes.pop(name)
    return joined


def _inputs_error(node: Node, errors: Mapping[Node, float]) -> float:
    """The largest error of the compared tensors that `node` is computed from, at whatever distance."""
    return max((errors[read] for read in _nearest(node, errors, lambda at: at.all_input_nodes)), default=0.0)


def _skipped(node: Node, compared: Collection[Node]) -> int:
    """How many layers with weights lie between `node` and the compared tensors that it is computed from."""
    passed: set[Node] = set()

    def reads(at: Node) -> list[Node]:
        passed.add(at)
        return at.all_input_nodes

    _nearest(node, compared, reads)
    return sum(operator_name(at).startswith(WEIGHTED) for at in passed - {node} if at.op == "call_function")


def _nearest(node: Node, among: Collection[Node], step: Callable[[Node], Iterable[Node]]) -> set[Node]:
    """The first nodes of `among` on every way from `node` along `step` (its readers, or what it reads)."""
    found: set[Node] = set()
    seen: set[Node] = set()
    ahead = list(step(node))
    while ahead:
        at = ahead.pop()
        if at in seen:
            continue
        seen.add(at)
        if at in among:
            found.add(at)
        else:
            ahead.extend(step(at))
    return found


def _misjoined(forced: Mapping[str, Layer], joined: Mapping[str, Node], freed: Mapping[str, Layer]) -> set[str]:
    """Jumping tensors of `forced` without which all that follows from them agrees: they stand for something else.

    Where a fault follows right behind, all does not agree, but far more of it: put in where it does not belong, a
    tensor spoils what follows, and a wrong one that does belong there explains it. Both are in the program's order. The
    last is looked at first, and what is found out is looked through.
    """
    tensor_of = {node: tensor for tensor, node in joined.items() if tensor in freed}
    wrong: set[str] = set()
    for tensor in reversed([tensor for tensor in freed if forced[tensor].jumps and freed[tensor].jumps]):
        after = [tensor_of[node] for node in _nearest(joined[tensor], tensor_of, lambda at: at.users)]
        spoilt = max((forced[name].excess for name in after), default=0.0)
        left = max((freed[name].excess for name in after), default=0.0)
        if after and (left <= 1 or MUCH * left < spoilt):
            wrong.add(tensor)
            del tensor_of[joined[tensor]]
    return wrong
