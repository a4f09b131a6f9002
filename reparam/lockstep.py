"""The proof of the whole: the folded graph beside the captured one, value by value, on one input in float64.

Rewriting leaves most values of a model as they were; the graphs have them in common, and differ in how they come from
one to the next. Both are run abreast. Each common value is compared as soon as both have it, and the folded graph goes
on with the captured graph's. So every stretch between common values is judged on what really arrives there. By
induction from inputs to outputs that covers the model, and two things cannot mislead that mislead outputs alone:

- a model that amplifies roundings: products of branches, block upon block, make 1e-7 of 1e-16. A bound as wide as that
  would let wrong rewrites pass; here no stretch is longer than what a few rewrites have touched.
- a model that damps: behind a layer scale of 1e-5 or a saturated gate no output shows what went wrong.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg
from torch.utils._pytree import tree_flatten, tree_leaves

from .proof import computed, relative_error, steps_float64


def deviation(
    captured: GraphModule, folded: GraphModule, origin: Mapping[Node, Node], inputs: Sequence[Tensor]
) -> float:
    """The largest relative deviation of any common value in float64; infinite for outputs of another form.

    `origin` has, for nodes of `folded`, the node of `captured` whose value they should have. It need not be right, nor
    complete: what it claims is what is compared, and an output that it does not claim is compared by its value.
    """
    worst = 0.0
    for expected, given in _common_values(captured, folded, origin, inputs):
        one, other = _tensors(expected), _tensors(given)
        worst = max(worst, relative_error(one, other) if len(one) == len(other) else math.inf)
    return worst


def _common_values(
    captured: GraphModule, folded: GraphModule, origin: Mapping[Node, Node], inputs: Sequence[Tensor]
) -> Iterator[tuple[Any, Any]]:
    """(as captured, as folded), in the folded graph's order; each is let go of once nobody will ask for it."""
    steps = steps_float64(captured, inputs)
    asked = Counter(origin[node] for node in folded.graph.nodes if node in origin)
    asked.update(captured.graph.output_node().all_input_nodes)
    truth: dict[Node, Any] = {}
    own: dict[Node, Any] = {}
    readers = {node: len(node.users) for node in folded.graph.nodes}
    for node in folded.graph.nodes:
        if node.op not in ("placeholder", "call_function"):
            continue
        twin = origin.get(node)
        while twin is not None and twin not in truth:
            truth.update(step for step in (next(steps),) if asked[step[0]])
        if twin is None or not _is_unchanged(node, twin, origin):
            own[node] = _value(folded, node, own)
        if twin is not None:
            if node in own:
                yield truth[twin], own[node]
            own[node] = truth[twin]
            _ask_once_less(twin, asked, truth)
        for read in node.all_input_nodes:
            _ask_once_less(read, readers, own)
    truth.update(step for step in steps if asked[step[0]])
    yield from _unclaimed_outputs(captured, folded, origin, truth, own)


def _is_unchanged(node: Node, twin: Node, origin: Mapping[Node, Node]) -> bool:
    """Whether the node is the captured call itself on the captured values: then there is nothing to compare."""
    if node.op == "placeholder":
        return True
    args, kwargs = map_arg((node.args, node.kwargs), lambda read: origin.get(read, read))  # pyright: ignore
    return node.target == twin.target and args == twin.args and kwargs == twin.kwargs


def _value(folded: GraphModule, node: Node, own: Mapping[Node, Any]) -> Any:
    weights = {read: computed(folded, read, {}) for read in node.all_input_nodes if read.op == "get_attr"}
    return computed(folded, node, {**own, **weights})


def _ask_once_less(node: Node, asked: dict[Node, int], values: dict[Node, Any]) -> None:
    asked[node] -= 1
    if not asked[node]:
        values.pop(node, None)


def _unclaimed_outputs(
    captured: GraphModule,
    folded: GraphModule,
    origin: Mapping[Node, Node],
    truth: dict[Node, Any],
    own: dict[Node, Any],
) -> Iterator[tuple[Any, Any]]:
    """The outputs that are not known to be the captured ones; None beside an output that the other does not have."""
    (expected, form), (given, other) = (tree_flatten(module.graph.output_node().args) for module in (captured, folded))
    if form != other:
        yield None, tuple(own.values())
        return
    for one, two in zip(expected, given, strict=True):
        if isinstance(one, Node) and isinstance(two, Node) and origin.get(two) is not one:
            yield _output(captured, one, truth), _output(folded, two, own)
        elif isinstance(one, Node) != isinstance(two, Node):
            yield None, tuple(own.values())


def _output(module: GraphModule, node: Node, values: Mapping[Node, Any]) -> Any:
    return computed(module, node, values) if node.op == "get_attr" else values[node]


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
