"""The proof of the whole: the folded graph beside the captured one, value by value.

Rewriting leaves most values of a model as they were; the graphs have them in common, and differ in how they come from
one to the next. Every stretch of the folded graph between common values is run in float64 beside the stretch of the
captured graph that it stands for, both on the same values. If all stretches agree, then by induction from inputs to
outputs the models agree: a stretch begins with values that are the same in both, and ends with one that therefore is.

- What a stretch reads, it reads from where its own graph says. So a use that was turned to the wrong value shows,
  whatever rewrite has done it: the calls of the folded graph that are the captured ones on the captured values are
  left out, all others are judged.
- Where random values prove a stretch for all others (`analytic.py`) it is run on such. The rest is judged on what
  really arrives there, for which the captured model is run once, as far as it takes. That run is in float32, since the
  stretches are judged on its values, but never held against them. Only where a stretch is made of other values than
  what it stands for must these fit each other, and be float64.
- A stretch that treats all positions alike is run on a piece of its inputs that has every kind of window (`window.py`).
- Two things cannot mislead that mislead outputs alone. A model that amplifies roundings: products of branches, block
  upon block, make 1e-7 of 1e-16, and a bound as wide as that would let wrong rewrites pass; here no stretch is longer
  than what a few rewrites have touched. And a model that damps: behind a layer scale of 1e-5 or a saturated gate no
  output shows what went wrong.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map

from .analytic import is_analytic
from .graph import is_op
from .no_effect import SHAPED_AS, unchanged
from .proof import leaks, random_values, region, relative_error, run_region, steps
from .window import Window, window

_AHEAD = 8
"""Common values that a stretch may go past to where both sides begin alike."""


@dataclass(frozen=True)
class _Stretch:
    """How values of the captured graph, and of the folded one, come from values that both have.

    `ends` pairs nodes of the folded graph with captured ones of the same values, and so does `sources` with those that
    they are made of; `begins` has the captured nodes that theirs are made of, `lent` those that give their shape alone.
    """

    ends: frozenset[tuple[Node, Node]]
    sources: Mapping[Node, Node]
    begins: frozenset[Node]
    lent: frozenset[Node] = frozenset()

    @property
    def read(self) -> frozenset[Node]:
        return frozenset({*self.begins, *self.sources.values()})

    @property
    def is_closed(self) -> bool:
        """Whether both sides are made of the same values."""
        return not self.apart

    @property
    def apart(self) -> frozenset[Node]:
        """The values that one side is made of, and the other is not."""
        sources = set(self.sources.values())
        return (self.begins - self.lent - sources) | (sources - self.begins)

    @property
    def window(self) -> Window | None:
        """How much of the values is enough, where both sides treat all positions alike."""
        return window(self.calls, (*self.begins, *self.sources)) if self.is_closed else None

    @cached_property
    def is_analytic(self) -> bool:
        """Whether random values judge it as well as any."""
        return self.is_closed and is_analytic(self.calls, (*self.begins, *self.sources))

    @cached_property
    def calls(self) -> tuple[Node, ...]:
        """Those of both sides."""
        ends, twins = zip(*self.ends, strict=True)
        return (*region(twins, self.begins), *region(ends, self.sources))


def deviation(captured: GraphModule, folded: GraphModule, origin: Mapping[Node, Node], seed: int = 0) -> float:
    """The largest relative deviation of any common value in float64; infinite for outputs of another form.

    `origin` has, for nodes of `folded`, the node of `captured` whose value they should have. It need not be right, nor
    complete: what it claims is what is compared, and an output that it does not claim is compared by its value.
    """
    placeholders = (graph.graph.find_nodes(op="placeholder") for graph in (folded, captured))
    origin = {**origin, **dict(zip(*placeholders, strict=True))}
    outputs = _unclaimed_outputs(captured, folded, origin)
    if outputs is None:
        return math.inf
    stretches = _joined((*_stretches(captured, folded, origin), *outputs))
    analytic = [stretch for stretch in stretches if stretch.is_analytic]
    others = [stretch for stretch in stretches if not stretch.is_analytic]
    judged = itertools.chain(_with_random_values(analytic, seed), _with_values(captured, others, seed))
    return max(
        (
            _deviation(captured, folded, stretch, values, leak)
            for stretch, values in judged
            for leak in leaks(stretch.calls)
        ),
        default=0.0,
    )


def _deviation(
    captured: GraphModule, folded: GraphModule, stretch: _Stretch, values: Mapping[Node, Any], leak: float
) -> float:
    ends, twins = zip(*stretch.ends, strict=True)
    sources = {node: values[twin] for node, twin in stretch.sources.items()}
    one = _tensors(run_region(captured, {node: values[node] for node in stretch.begins}, twins, leak=leak))
    other = _tensors(run_region(folded, sources, ends, leak=leak))
    if len(one) != len(other):
        return math.inf
    if stretch.sources.keys() >= set(ends) and all(map(torch.equal, one, other)):
        return 0.0  # handed on as it is, even if it is infinite
    return relative_error(one, other)


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


# The stretches -------------------------------------------------------------------------------------------------------


def _stretches(captured: GraphModule, folded: GraphModule, origin: Mapping[Node, Node]) -> Iterator[_Stretch]:
    """One for each claim that is not true by itself; none is longer than what the rewrites have changed."""
    claims = _claims(folded, origin)
    for end, twin in claims.items():
        moved = _moved(captured, end, twin, claims, origin)
        if moved is None:
            yield _stretch(twin, end, claims)
        else:
            yield from (_stretch(value, read, claims) for read, value in moved)


def _claims(folded: GraphModule, origin: Mapping[Node, Node]) -> dict[Node, Node]:
    """The nodes that are said to have a captured one's value; a weight that stayed one is read where it is."""
    return {node: origin[node] for node in folded.graph.nodes if node in origin and origin[node].op != "get_attr"}


def _moved(
    captured: GraphModule, node: Node, twin: Node, claims: Mapping[Node, Node], origin: Mapping[Node, Node]
) -> list[tuple[Node, Node]] | None:
    """Where the node is the captured call itself: (what it reads, what that read) wherever a call between is gone.

    If such pairs have the same value, node and twin have as well; none, and there is nothing to compare. None for
    another call, or one that reads something else.
    """
    if node.op == "placeholder":
        return []
    if node.target != twin.target:
        return None
    (given, form), (theirs, other) = (tree_flatten((call.args, call.kwargs)) for call in (node, twin))
    if form != other:
        return None
    otherwise = [
        (a, b) for a, b in zip(given, theirs, strict=True) if (origin.get(a, a) if isinstance(a, Node) else a) != b
    ]
    alike = all(isinstance(b, Node) and a in claims and _hands_on(captured, b, claims[a]) for a, b in otherwise)
    return otherwise if alike else None


def _hands_on(captured: GraphModule, value: Node, source: Node) -> bool:
    """Whether the calls from `source` to `value` are ones that should change nothing: dropout, copies, full slices."""
    read: Node | None = value
    while read is not None and read is not source:
        read = unchanged(captured, read)
    return read is source


def _unclaimed_outputs(
    captured: GraphModule, folded: GraphModule, origin: Mapping[Node, Node]
) -> list[_Stretch] | None:
    """One for each output that is not known to be the captured one; None for outputs of another form."""
    (expected, form), (given, other) = (tree_flatten(module.graph.output_node().args) for module in (captured, folded))
    if form != other or any(isinstance(a, Node) != isinstance(b, Node) for a, b in zip(expected, given, strict=True)):
        return None
    claims = _claims(folded, origin)
    pairs = [(a, b) for a, b in zip(expected, given, strict=True) if isinstance(a, Node) and origin.get(b) is not a]
    return [_stretch(twin, end, claims) for twin, end in pairs]


def _stretch(twin: Node, end: Node, claims: Mapping[Node, Node]) -> _Stretch:
    """From the nearest values that both are made of. A rewrite may read past a common value, or from behind one: then
    the side that begins later begins further ahead.

    If that does not soon bring both to the same values, they are what each side reads.
    """
    passed = {twin}
    found = nearest = _between(twin, end, claims, passed)
    for _ in range(_AHEAD):
        last = max(found.apart, default=None)
        if last is None or last.op == "placeholder":
            break
        passed.add(last)
        found = _between(twin, end, claims, passed)
    return found if found.is_closed else nearest


def _between(twin: Node, end: Node, claims: Mapping[Node, Node], passed: set[Node]) -> _Stretch:
    known = {node: value for node, value in claims.items() if value not in passed}
    twins = set(known.values())
    calls = region((twin,), twins)
    begins = {read for node in calls for read in node.all_input_nodes if read in twins}
    lent = begins - {read for node in calls for read in _taken(node)}
    read = {read for node in region((end,), known) for read in node.all_input_nodes if read in known}
    sources = {node: known[node] for node in ({end} if end in known else read)}
    return _Stretch(frozenset({(end, twin)}), sources, frozenset(begins), frozenset(lent))


def _taken(node: Node) -> Sequence[Node]:
    """What the call reads for more than its shape."""
    return node.all_input_nodes[:1] if is_op(node, "expand_as", *SHAPED_AS) else node.all_input_nodes


def _joined(stretches: Iterable[_Stretch]) -> list[_Stretch]:
    """Those that are made of the same values as one: what lies between is computed once."""
    found: dict[object, _Stretch] = {}
    for stretch in stretches:
        made_of = (stretch.begins, stretch.lent, frozenset(stretch.sources))
        known = found.get(made_of, stretch)
        found[made_of] = replace(stretch, ends=known.ends | stretch.ends)
    return list(found.values())


# The values that they begin with ------------------------------------------------------------------------------------


def _with_random_values(stretches: Sequence[_Stretch], first: int) -> Iterator[tuple[_Stretch, dict[Node, Any]]]:
    for seed, stretch in enumerate(stretches, first):
        yield stretch, random_values(sorted(stretch.read), seed, window=stretch.window)


def _with_values(
    captured: GraphModule, stretches: Sequence[_Stretch], seed: int
) -> Iterator[tuple[_Stretch, dict[Node, Any]]]:
    """Each stretch as soon as the captured model has come to all that it reads, and that in float64.

    A value is let go of once no stretch will ask for it.
    """
    asked = Counter(node for stretch in stretches for node in stretch.read)
    due: dict[Node | None, list[_Stretch]] = defaultdict(list)
    for stretch in stretches:
        due[max(stretch.read, default=None)].append(stretch)
    values: dict[Node, Any] = {}
    yield from ((stretch, {}) for stretch in due.pop(None, ()))
    if not due:
        return
    enough_bits = all(stretch.is_closed for stretch in stretches)
    inputs = list(random_values(captured.graph.find_nodes(op="placeholder"), seed).values())
    for node, value in steps(captured, inputs, real=torch.float32 if enough_bits else torch.float64):
        if asked[node]:
            values[node] = value
        for stretch in due.pop(node, ()):
            enough = stretch.window
            yield stretch, {read: _piece(values[read], enough) for read in stretch.read}
            _ask_once_less(stretch.read, asked, values)
        if not due:
            return


def _piece(value: Any, window: Window | None) -> Any:
    def piece(part: Any) -> Any:
        if not isinstance(part, Tensor):
            return part
        part = part if window is None else window.of(part)
        return part.double() if part.is_floating_point() else part

    return tree_map(piece, value)


def _ask_once_less(nodes: frozenset[Node], asked: dict[Node, int], values: dict[Node, Any]) -> None:
    for node in nodes:
        asked[node] -= 1
        if not asked[node]:
            values.pop(node, None)
