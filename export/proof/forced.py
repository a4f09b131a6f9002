"""A captured program, run node by node in three ways at once, with an artifact's tensors put in where they belong.

    free     float64, all values the model's own                   what the model computes
    forced   float64, the artifact's value in place of each        what each layer should have made of the inputs that
             tensor that it has                                    the artifact gave it
    rounded  as forced, in the artifact's precision                what rounding alone costs that layer

One pass, as long as three forwards; a value is let go of after its last reader, as in any interpreter.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any, Literal

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node
from torch.fx.node import map_arg
from torch.utils._pytree import tree_map

from .inner_constants import with_rounded_constants

Rounds = Literal["all values", "weights"]
Values = dict[Node, Any]

_ANY_STRIDES: dict[Any, Any] = {torch.ops.aten.view.default: torch.ops.aten.reshape.default}
"""What asks for the strides of the captured run → its twin that takes those of another kernel, or of an artifact."""

_REAL = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class Stream:
    """One of the ways: floats are carried as `carrier`, weights and (or) results go through a narrower type, and the
    constants inside operators through that of the weights, or `constants`.

    The nodes named in `float32` take part in no rounding; what they give is rounded when another node reads it.
    """

    def __init__(
        self,
        carrier: torch.dtype,
        weights: torch.dtype | None,
        results: torch.dtype | None,
        float32: Collection[str] = (),
        constants: torch.dtype | None = None,
    ) -> None:
        self.carrier, self._weights, self._results, self._float32 = carrier, weights, results, frozenset(float32)
        self._constants = weights or constants
        self.values: Values = {}
        self._inputs: set[Node] = set()

    def taken(self, node: Node, value: Any) -> Any:
        """An input of the program: rounded as a result is, since where weights alone are it comes as it is."""
        self._inputs.add(node)
        return tree_map(lambda leaf: self._stored(leaf, self._results), value)

    def given(self, value: Any) -> Any:
        """A weight or a constant of the program: rounded where it is read, so that it is not held twice."""
        return value

    def computed(self, node: Node) -> Any:
        """The node's value from those it reads."""
        wide = node.name in self._float32
        args, kwargs = map_arg((node.args, node.kwargs), lambda read: self.read(read, wide=wide))
        named = {name: self._wide(value) for name, value in kwargs.items()}
        target = _ANY_STRIDES.get(node.target, node.target)
        assert callable(target)
        if self._constants is not None:
            stored = torch.float32 if wide else self._constants
            target, args, named = with_rounded_constants(target, args, named, stored)
        through = None if wide else self._results
        return tree_map(lambda leaf: self._stored(leaf, through), target(*map(self._wide, args), **named))

    def read(self, node: Node, *, wide: bool = False) -> Any:
        """The value of `node` as a node reads it that is `wide`, or not."""
        computed = node.op == "call_function" or node in self._inputs
        narrow = self._weights if not computed else self._results if self._float32 else None
        through = None if wide else narrow
        return tree_map(lambda leaf: self._stored(leaf, through), self.values[node])

    def _stored(self, value: Any, through: torch.dtype | None) -> Any:
        if not (isinstance(value, Tensor) and value.is_floating_point()):
            return value
        return (value if through is None else value.to(through)).to(self.carrier)

    def _wide(self, argument: Any) -> Any:
        return self.carrier if isinstance(argument, torch.dtype) and argument in _REAL else argument


def streams(precision: str, rounds: Rounds, float32: Collection[str] = ()) -> tuple[Stream, Stream, Stream]:
    """Free, forced and rounded, for an artifact of `precision` whose answers have suffered `rounds`."""
    return Stream(torch.float64, None, None), Stream(torch.float64, None, None), rounding(precision, rounds, float32)


def rounding(precision: str, rounds: Rounds, float32: Collection[str] = ()) -> Stream:
    """The way of an artifact of `precision` that keeps the nodes named in `float32` wide."""
    narrow = torch.float16 if precision == "float16" else None
    carrier, results = (torch.float64, None) if rounds == "weights" else (torch.float32, narrow)
    return Stream(carrier, narrow, results, float32 if narrow else (), torch.float32)


@torch.no_grad()
def run_forced(
    program: ExportedProgram,
    inputs: Sequence[Tensor],
    ways: tuple[Stream, Stream, Stream],
    given: Iterator[tuple[Node, Tensor]],
    see: Callable[[Node, Tensor, Tensor, Tensor, Tensor], bool],
) -> None:
    """Run `program` on `inputs`; `given` yields nodes, in the program's order, with the artifact's tensor for each.

    At each of them `see(node, artifact's, free, forced, rounded)` is told the four values, and says whether the
    artifact's goes in.
    """
    free, forced, rounded = ways
    stored = _stored(program, inputs)
    last = {read: node for node in program.graph.nodes for read in node.all_input_nodes}
    wanted, ours = next(given, (None, None))
    for node in program.graph.nodes:
        if node.op != "call_function":
            for way in ways if node.op != "output" else ():
                way.values[node] = _given(program, node, stored, way)
            continue
        for way in ways:
            way.values[node] = way.computed(node)
        if node is wanted and ours is not None:
            if see(node, ours, free.values[node], forced.values[node], rounded.values[node]):
                forced.values[node], rounded.values[node] = ours.to(forced.carrier), ours.to(rounded.carrier)
            wanted, ours = next(given, (None, None))
        for read in (*node.all_input_nodes, node):
            if last.get(read, node) is node:
                for way in ways:
                    way.values.pop(read, None)


def run_free(program: ExportedProgram, inputs: Sequence[Tensor], see: Callable[[Node, Any], None]) -> None:
    """Run `program` in float32 on its own values, and show each as it is made."""
    run_alone(program, inputs, Stream(torch.float32, None, None), see)


@torch.no_grad()
def run_alone(
    program: ExportedProgram, inputs: Sequence[Tensor], way: Stream, see: Callable[[Node, Any], None] = lambda *_: None
) -> list[Tensor]:
    """The outputs of `program` run one way, each value shown to `see` as it is made."""
    stored = _stored(program, inputs)
    last = {read: node for node in program.graph.nodes for read in node.all_input_nodes}
    for node in program.graph.nodes:
        if node.op == "output":
            return [way.read(read, wide=True) for read in node.args[0]]
        if node.op != "call_function":
            way.values[node] = _given(program, node, stored, way)
            continue
        way.values[node] = way.computed(node)
        see(node, way.values[node])
        for read in node.all_input_nodes:
            if last[read] is node:
                way.values.pop(read, None)
    return []


def _given(program: ExportedProgram, node: Node, stored: Mapping[str, Any], way: Stream) -> Any:
    held = _held(program, node, stored)
    return way.taken(node, held) if node.name in program.graph_signature.user_inputs else way.given(held)


def _held(program: ExportedProgram, node: Node, stored: Mapping[str, Any]) -> Any:
    if node.op == "get_attr":  # a sub-graph, or a constant that the capture left in the graph
        return attrgetter(str(node.target))(program.graph_module)
    return stored.get(node.name)


def _stored(program: ExportedProgram, inputs: Sequence[Tensor]) -> Mapping[str, Any]:
    """Placeholder name → weight, buffer, constant or input."""
    signature = program.graph_signature
    named = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    held: dict[str, Any] = {**program.constants, **program.state_dict}
    constants = signature.inputs_to_lifted_tensor_constants
    found = {place: held[name] for place, name in {**named, **constants}.items()}
    return found | {str(place): value for place, value in zip(signature.user_inputs, inputs, strict=True)}
