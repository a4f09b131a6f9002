"""Make a captured program one that coremltools 9.0 converts to what it computes.

Much of what coremltools gets wrong it gets wrong without a word: arguments that its torch.export frontend does not
read, passes that take one operator for another. `rewrites` holds the same functions in other operators; this file
applies them, refuses what has no right form, and brings the constants of a float16 program into its range.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx.node import map_aggregate

from ...models.tokens.choose import in_decision
from ...reparam.graph import operator_name
from ..artifact import NotConverted
from ..source_line import source_line
from .own_transpose import keep_apart
from .ranks import MOST, RANKED, beyond, merge_reshapes, too_many
from .rewrites import EXPANDED, REWRITES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from torch.fx import Node

aten = torch.ops.aten
FLOAT16_MAX = 65504.0

UNREAD = ((aten.searchsorted, "sorter"), (aten.sum, "dtype"), (aten.mean, "dtype"), (aten.cumprod, "dtype"))
"""Arguments that coremltools does not read, and that nothing here can replace."""


@dataclass
class _Made:
    """What was made of a program: its legal form, whether float16 can hold all constants of that, and if not the last
    form for float16, with the nodes that were asked to stay in float32."""

    legal: ExportedProgram
    fits: bool | None = None
    narrow: ExportedProgram | None = None
    asked: tuple[str, ...] = ()


_MADE: WeakKeyDictionary[ExportedProgram, _Made] = WeakKeyDictionary()


def legalized(
    program: ExportedProgram, *, precision: str = "float32", float32: Collection[str] = ()
) -> ExportedProgram:
    """`legalize`, whose result is kept for as long as `program` is and shared: the converter and each check ask for it,
    and it takes longer than the checks do. It is to be read only. Where float16 can hold every constant, which is
    usual, all precisions share one.
    """
    if program not in _MADE:
        _MADE[program] = _Made(legalize(program))
    made = _MADE[program]
    if precision != "float16":
        return made.legal
    if made.fits is None:
        made.fits = _fits_float16(made.legal)
    if made.fits:
        return made.legal
    asked = tuple(sorted(float32))
    if made.narrow is None or made.asked != asked:
        made.narrow, made.asked = legalize(program, precision=precision, float32=float32), asked
    return made.narrow


def legalize(program: ExportedProgram, *, precision: str = "float32", float32: Collection[str] = ()) -> ExportedProgram:
    """The same function in operators that coremltools converts right; `program` itself stays as it is.

    `precision` is that of the ML Program: in float16, finite constants beyond its range become its largest number (the
    usual "minus infinity" of an attention mask; as an infinity it gives NaN), but for those that the nodes of a choice
    and those named in `float32` read. Raises NotConverted, naming operator and module, where something would be ignored
    that has no other form, and for a weight that float16 cannot hold.
    """
    defaults = torch.export.default_decompositions()
    legal = program.run_decompositions(
        {**{operator: defaults[operator] for operator in EXPANDED if operator in defaults}, **_rewrites()}
    )
    merge_reshapes(legal)
    keep_apart(legal)
    for node in legal.graph.nodes:
        _refuse(node, legal)
    _refuse_ranks(legal)
    if precision == "float16":
        _bound_constants(legal, kept_wide(legal, float32))
    return legal


def kept_wide(program: ExportedProgram, asked: Collection[str] = ()) -> frozenset[str]:
    """Names of the nodes that a float16 file keeps in float32: those of a `Decision`, and those asked for."""
    return frozenset(node.name for node in program.graph.nodes if in_decision(node) or node.name in asked)


def indexes_beyond_int16(program: ExportedProgram) -> bool:
    """Whether an operator picks, by position, from a dimension that 16 bits cannot count."""
    picks = {aten.index, aten.index_select, aten.gather, aten.embedding}
    picked = [node.args[0].meta["val"] for node in program.graph.nodes if _packet(node) in picks]
    return any(isinstance(size, int) and size > 32767 for value in picked for size in value.shape)


def module_paths(program: ExportedProgram) -> dict[str, str]:
    """Node name → path of the module it came from; where no module call is noted, that of the weight it reads."""
    owners = {**program.graph_signature.inputs_to_parameters, **program.graph_signature.inputs_to_buffers}
    paths: dict[str, str] = {}
    for node in program.graph.nodes:
        called = [path for path, _ in (node.meta.get("nn_module_stack") or {}).values()][-1:]
        owning = [owners[read.name].rpartition(".")[0] for read in node.all_input_nodes if read.name in owners]
        paths[node.name] = next((path for path in [*called, *owning] if path), "")
    return paths


def place(node: Node, program: ExportedProgram) -> str:
    """Where the model calls the node, as in "of blocks.0.attn (timm/models/beit.py:256)"."""
    path, line = module_paths(program).get(node.name), source_line(node)
    return f"of {path or 'the model'}" + (f" ({line})" if line else "")


def _packet(node: Node) -> Any:
    return getattr(node.target, "overloadpacket", None)


def _rewrites() -> dict[Any, Callable[..., Any]]:
    """Operator → its form in fewer dimensions where it has too many of them, else its entry in REWRITES."""

    def first(ranked: Callable[..., Any], rewrite: Callable[..., Any]) -> Callable[..., Any]:
        def apply(*given: Any, **named: Any) -> Any:
            found = ranked(*given, **named)
            return rewrite(*given, **named) if found is NotImplemented else found

        return apply

    both = {operator: first(RANKED[operator], REWRITES[operator]) for operator in RANKED.keys() & REWRITES.keys()}
    return {**REWRITES, **RANKED, **both}


def _refuse(node: Node, program: ExportedProgram) -> None:
    for packet, keyword in UNREAD:
        if _packet(node) is packet and node.kwargs.get(keyword) not in (None, torch.float32):
            where = module_paths(program)[node.name] or "the model"
            raise NotConverted(
                f"coremltools would ignore {keyword}={node.kwargs[keyword]} of {packet} in {where}; leave it out there"
            )


def _refuse_ranks(program: ExportedProgram) -> None:
    if node := beyond(program):
        shape = next(filter(None, map(too_many, (node, *node.all_input_nodes))))
        raise NotConverted(
            f"Core ML has tensors of at most {MOST} dimensions, but {operator_name(node)} {place(node, program)} works "
            f"on {shape}; take dimensions together before it"
        )


def _bound_constants(program: ExportedProgram, float32: Collection[str]) -> None:
    """Bring finite numbers that float16 cannot hold back to its largest one, in the graph and in its constants.

    What a node in `float32` reads stays; coremltools leaves the others that read it in float32 as well.
    """

    def bounded(value: Any) -> Any:
        return math.copysign(FLOAT16_MAX, value) if _exceeds_float16(value) else value

    for node in program.graph.nodes:
        if node.name not in float32:
            node.args, node.kwargs = map_aggregate((node.args, node.kwargs), bounded)
    kept = _read_by(program, float32)
    for tensors in (program.constants, program.state_dict):
        for name, value in tensors.items():
            if name not in kept and isinstance(value, Tensor) and _exceeds_float16(value):
                if name in program.graph_signature.parameters:
                    raise NotConverted(
                        f"the weight {name} has values that float16 cannot hold; ask for float32 precision"
                    )
                tensors[name] = torch.where(value.isinf(), value, value.clamp(-FLOAT16_MAX, FLOAT16_MAX))


def _read_by(program: ExportedProgram, readers: Collection[str]) -> set[str]:
    """Names of the weights, buffers and constants that the nodes called `readers` read."""
    signature = program.graph_signature
    named = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    reading = [node for node in program.graph.nodes if node.name in readers]
    return {named[read.name] for node in reading for read in node.all_input_nodes if read.name in named}


def _fits_float16(program: ExportedProgram) -> bool:
    """Whether `_bound_constants` would leave the program as it is."""
    found: list[Any] = [*program.constants.values(), *program.state_dict.values()]
    for node in program.graph.nodes:
        map_aggregate((node.args, node.kwargs), found.append)
    return not any(map(_exceeds_float16, found))


def _exceeds_float16(value: Any) -> bool:
    """Whether it is a number, or a tensor with one, that is finite and beyond float16."""
    if isinstance(value, float):
        return FLOAT16_MAX < abs(value) < math.inf
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return False
    return bool((value.abs().nan_to_num(posinf=0) > FLOAT16_MAX).any())
