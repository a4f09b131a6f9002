"""Read a captured graph, and write new nodes and weights into it: what every rule is made of.

A captured graph is an `fx.GraphModule` of ATen calls: placeholders, `get_attr` nodes for weights, one `call_function`
node per operator, an output. Every node carries `meta["val"]`, a fake tensor with its shape and dtype, and the stack of
modules that it came from.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch._subclasses import FakeTensor
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg
from torch.utils._pytree import tree_leaves

PENDING = "pending_dtype"
"""Key of `node.meta`: the dtype that a folded float64 constant is rounded to when folding is over."""

_STORED = "stored"
"""Key of `node.meta` of a `get_attr` node while rules work on the graph: the tensor, which they look up very often."""


class Workpiece(GraphModule):
    """A graph that rules read and write and that the proofs interpret, whose nodes hold the weights.

    Nobody calls it, so it needs no Python code.
    """

    def recompile(self) -> Any:
        return None


def copy_of(module: GraphModule) -> tuple[GraphModule, dict[Node, Node]]:
    """A graph of its own over the same weight tensors, and for each of its nodes the one that it is a copy of."""
    graph, copies = torch.fx.Graph(), dict[Node, Node]()
    output = graph.graph_copy(module.graph, copies)
    last = module.graph.output_node()
    graph.output(output).meta = dict(last.meta)
    graph._codegen = module.graph._codegen
    for node in graph.find_nodes(op="get_attr"):
        node.meta[_STORED] = attribute(module, str(node.target))
    work = Workpiece(nn.Module(), torch.fx.Graph())
    work.graph = graph
    graph.owning_module = None  # which would have to have the weights
    return work, {copy: node for node, copy in copies.items()}


def is_op(node: object, *names: str) -> bool:
    """Whether `node` calls one of these ATen operators; names are those of the packets, as in `conv2d`."""
    if not isinstance(node, Node) or not isinstance(target := node.target, OpOverload):
        return False
    name = target._overloadpacket._qualified_op_name
    return name[6:] in names and name[:6] == "aten::"


def operator_name(node: Node) -> str:
    """`conv2d` for a call of aten::conv2d, `getitem` for Python's."""
    if isinstance(node.target, OpOverload):
        return node.target._overloadpacket._qualified_op_name.removeprefix("aten::")
    return getattr(node.target, "__name__", str(node.target))


def arguments(node: Node) -> dict[str, Any]:
    """All arguments of an ATen call by their schema names, defaults filled in."""
    assert isinstance(node.target, OpOverload)
    positional, defaults = _parameters(node.target)
    return {**defaults, **dict(zip(positional, node.args, strict=False)), **node.kwargs}


@functools.cache
def _parameters(target: OpOverload) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The names of the positional ones, and the defaults of all that have one, both in the schema's order."""
    given = target._schema.arguments
    defaults = {argument.name: argument.default_value for argument in given if argument.has_default_value()}
    return tuple(argument.name for argument in given if not argument.kwarg_only), defaults


def with_arguments(node: Node, **changed: Any) -> tuple[Any, ...]:
    """Positional arguments of the same call with some replaced; keyword-only arguments are left to their defaults."""
    assert isinstance(node.target, OpOverload)
    values = arguments(node) | changed
    return tuple(values[argument.name] for argument in node.target._schema.arguments if not argument.kwarg_only)


def shape(node: Node) -> tuple[Any, ...]:
    """Shape of the node's value; an open dimension is a SymInt."""
    return tuple(node.meta["val"].shape)


def axis_order(node: Node) -> list[int]:
    """Which axis of the input each axis of the output of a permute, transpose or mT is."""
    given, rank = arguments(node), len(shape(node))
    if is_op(node, "permute"):
        return [axis % rank for axis in given["dims"]]
    order = list(range(rank))
    one, other = (given.get(name, default) % rank for name, default in (("dim0", -2), ("dim1", -1)))
    order[one], order[other] = other, one
    return order


def dtype(node: Node) -> torch.dtype:
    return node.meta["val"].dtype


def mutates(node: Node) -> bool:
    """Whether the call writes into one of its arguments."""
    return isinstance(node.target, OpOverload) and node.target._schema.is_mutable


def module_path(node: Node) -> str:
    """Path of the innermost module that made this node, as in `blocks1.0.conv.m`; empty at the top."""
    stack = node.meta.get("nn_module_stack")
    return next(reversed(stack.values()))[0] if stack else ""


def constant(module: GraphModule, node: object) -> Tensor | None:
    """The tensor behind a `get_attr` node, or None for anything else."""
    if not (isinstance(node, Node) and node.op == "get_attr"):
        return None
    value = stored(module, node)
    return value if isinstance(value, Tensor) else None


def stored(module: GraphModule, node: Node) -> Any:
    """What a `get_attr` node stands for: a tensor, or a module that an operator runs."""
    return node.meta[_STORED] if _STORED in node.meta else attribute(module, str(node.target))


def double(module: GraphModule, node: Node) -> Tensor:
    """The tensor behind a `get_attr` node in float64."""
    value = constant(module, node)
    assert value is not None
    return value.detach().double()


def only_user(node: Node) -> Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def tied(module: GraphModule) -> set[str]:
    """Targets of `get_attr` nodes whose memory has more than one reader, or that the graph writes to."""
    readers: Counter[int] = Counter()
    written: set[int] = set()
    places: dict[str, int] = {}
    for node in module.graph.find_nodes(op="get_attr", sort=False):
        value = constant(module, node)
        if value is None:
            continue
        place = value.untyped_storage()._cdata
        places[str(node.target)] = place
        readers[place] += len(node.users)
        if any(user.args[0] is node and mutates(user) for user in node.users):
            written.add(place)
    return {target for target, place in places.items() if readers[place] > 1 or place in written}


# Writing -------------------------------------------------------------------------------------------------------------


def call(module: GraphModule, target: Any, args: Iterable[Any], *, like: Node) -> Node:
    """A new operator call at the graph's insertion point; module stack and source line are those of `like`."""
    node = module.graph.call_function(target, tuple(args))
    inherited = ("nn_module_stack", "stack_trace", "torch_fn", "from_node")
    node.meta = {key: like.meta[key] for key in inherited if key in like.meta}
    values = map_arg(node.args, lambda argument: argument.meta["val"])
    node.meta["val"] = target(*values)
    return node


def again(module: GraphModule, node: Node, replaced: Mapping[Node, Node] | None = None, **changed: Any) -> Node:
    """The same call right in front of `node`, with other inputs or arguments; its value keeps its shape.

    Standing where the old call stands, it comes after all that it reads, and before all that reads the old one.
    """
    replaced = replaced or {}
    with module.graph.inserting_before(node):
        copy = module.graph.node_copy(node, lambda read: replaced.get(read, read))
    if changed:
        assert isinstance(node.target, OpOverload)
        named = [argument.name for argument in node.target._schema.arguments]
        given = arguments(copy) | changed
        keyword_only = {argument.name for argument in node.target._schema.arguments if argument.kwarg_only}
        copy.args = tuple(given[name] for name in named if name not in keyword_only)
        copy.kwargs = {name: given[name] for name in named if name in keyword_only and name in (*copy.kwargs, *changed)}
    return copy


def put(module: GraphModule, name: str, value: Tensor, *, like: Node) -> Node:
    """A new weight that will be called `name`, in float64 until `settle` rounds it to the dtype of `like`.

    It is a parameter or a buffer as the weight behind `like` is. Until then its node holds it, and nothing once that is
    erased.
    """
    value = value.detach().double().contiguous()
    trained = isinstance(constant(module, like), nn.Parameter)
    rounded = like.meta.get(PENDING, dtype(like))
    fake = like.meta["val"]
    if fake.shape != value.shape or fake.dtype != rounded:
        empty = torch.empty(value.shape, dtype=rounded, device="meta")
        fake = FakeTensor(fake.fake_mode, empty, fake.device)  # a tenth of the time of fake.new_empty(…)
    node = module.graph.create_node("get_attr", f"{name}__folded")
    node.target = node.name  # there is one node of each name
    held = nn.Parameter(value, requires_grad=False) if trained else value
    node.meta = {"val": fake, PENDING: rounded, "wanted": name, _STORED: held}
    return node


def round_off(nodes: Iterable[Node], keep: Callable[[Tensor], Tensor]) -> None:
    """Round the folded weights among `nodes` now, where all in float64 would be too much memory, and `keep` them."""
    for node in nodes:
        if PENDING in node.meta and not node._erased:
            node.meta[_STORED] = _rounded(node.meta[_STORED], node.meta[PENDING], keep)


def _rounded(value: Tensor, to: torch.dtype, keep: Callable[[Tensor], Tensor] = lambda weight: weight) -> Tensor:
    rounded = keep(value.detach().to(to))
    return nn.Parameter(rounded, requires_grad=False) if isinstance(value, nn.Parameter) else rounded


def settle(module: GraphModule) -> GraphModule:
    """The graph over just the weights it reads: folded ones rounded to their dtype, under the names they asked for."""
    module.graph.eliminate_dead_code()
    attributes = [node for node in module.graph.nodes if node.op == "get_attr"]
    kept = {str(node.target) for node in attributes if PENDING not in node.meta}
    owners = {owner for name in kept for owner in _owners(name)}
    values: dict[str, Any] = {}
    for node in attributes:
        value = stored(module, node)
        node.meta.pop(_STORED, None)
        if PENDING in node.meta:
            wanted = node.meta.pop("wanted")
            name = node.target = next(name for name in _names(wanted) if _is_free(name, kept, owners))
            kept.add(name)
            owners.update(_owners(name))
            value = _rounded(value, node.meta.pop(PENDING))
        values[str(node.target)] = value
    settled = GraphModule(nn.Module(), torch.fx.Graph())
    for name, value in values.items():
        _attach(settled, name, value)
    settled.graph = module.graph  # handed over here, not to the constructor, which would copy the weights twice
    settled.eval()
    return settled


def _is_free(name: str, kept: set[str], owners: set[str]) -> bool:
    """Whether no weight is called so, no module that has weights, and nothing that any module has (`to`)."""
    taken = name in kept or name in owners or hasattr(GraphModule, name.rpartition(".")[2])
    return not taken and kept.isdisjoint(_owners(name))


def _owners(name: str) -> list[str]:
    """The modules that a weight of this name is in, as `blocks` and `blocks.0` of `blocks.0.scale`."""
    parts = name.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts))]


def _names(wanted: str) -> Iterator[str]:
    """What a weight can be called, from the name that it asks for."""
    yield wanted
    yield from (f"{wanted}__folded{number}" for number in itertools.count())


def attribute(module: nn.Module, name: str) -> Any:
    """What the dotted name stands for."""
    return functools.reduce(getattr, name.split("."), module)


def _attach(root: nn.Module, name: str, value: Any) -> None:
    *path, leaf = name.split(".")
    for part in path:
        if not hasattr(root, part):
            root.add_module(part, nn.Module())
        root = getattr(root, part)
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        root.register_buffer(leaf, value)
    else:
        setattr(root, leaf, value)


def reached_outputs(module: GraphModule) -> tuple[bool, ...]:
    """For each tensor that the graph gives, in order: whether any of its inputs has a part in it."""
    reached: set[Node] = set()
    for node in module.graph.nodes:
        if node.op == "placeholder" or reached.intersection(node.all_input_nodes):
            reached.add(node)
    (output,) = module.graph.find_nodes(op="output")
    return tuple(leaf in reached for leaf in tree_leaves(output.args) if isinstance(leaf, Node))
