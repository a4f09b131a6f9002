"""Apply the rules to a captured graph until none finds anything more, proving each rewrite before it is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType

from torch import Tensor
from torch.fx import GraphModule, Node

from .cost import count
from .graph import constant, copy_of, module_path, operator_name, round_off, settle
from .lockstep import deviation
from .proof import leaks, random_values, relative_error, run_region
from .rewrite import Folded, Match, Refusal, Rewrite
from .window import window

LIMIT = 1e-10
"""Largest relative deviation in float64 that a rewrite may show: 10⁵ roundings, far below any wrong formula."""

WHOLE_LIMIT = 1e-8
"""The same for a value that the whole model arrives at: there, a stretch may take differences of large numbers."""

HEAVY_BYTES = 2**30
"""Folded weights of a model from this size on are rounded one by one, as soon as each is proven."""

ROUNDED_LIMIT = 1e-5
"""What a value of the whole model may deviate then: a hundred roundings to float32."""


class FoldError(ValueError):
    """The folded model does not compute what the captured one does."""


def fold(
    captured: GraphModule,
    rules: Sequence[ModuleType],
    *,
    seed: int = 0,
    keep: Callable[[Tensor], Tensor] = lambda weight: weight,
) -> Folded:
    """`captured` (from `capture`, left as it is) with every rule applied wherever it is exact.

    Each rule has `NAME`, `find(module)` and `rewrite(module, match)`. A rewrite whose proof fails is taken back and
    becomes a refusal. Raises FoldError if the whole model deviates in the end. Until then folded weights are in
    float64, but for those of a heavy model: they are rounded at once, and what `keep` gives for them is stored instead.
    """
    heavy = sum(value.nbytes for value in captured.parameters()) >= HEAVY_BYTES
    work, origin = copy_of(captured)
    work.graph.eliminate_dead_code()
    steps, refusals = _until_still(work, origin, rules, seed, keep if heavy else None)
    error = deviation(captured, work, origin, seed + len(steps)) if steps else 0.0
    if not error <= (ROUNDED_LIMIT if heavy else WHOLE_LIMIT):
        raise FoldError(f"the folded model deviates from the captured one by {error:.1e} of its scale in float64")
    made = tuple(step for step in steps if isinstance(step, Rewrite))
    failed = tuple(step for step in steps if isinstance(step, Refusal))
    before = count(captured)
    folded = settle(work)
    return Folded(folded, made, _unique(failed + refusals), before, count(folded), error)


def _until_still(
    work: GraphModule,
    origin: dict[Node, Node],
    rules: Sequence[ModuleType],
    seed: int,
    keep: Callable[[Tensor], Tensor] | None,
) -> tuple[list[Rewrite | Refusal], tuple[Refusal, ...]]:
    """Every step, in order (a failed proof is one), and what the rules refuse in the graph as it is in the end."""
    steps: list[Rewrite | Refusal] = []
    refused: dict[str, list[Refusal]] = {}
    still_at: dict[str, int] = {}  # rule → number of steps when its last search found nothing to do
    given_up: set[tuple[str, str]] = set()
    while any(still_at.get(rule.NAME) != len(steps) for rule in rules):
        for rule in rules:
            if still_at.get(rule.NAME) == len(steps):
                continue
            before = len(steps)
            found = [(place, _reads(place)) for place in rule.find(work)]
            refused[rule.NAME] = [place for place, _ in found if isinstance(place, Refusal)]
            for match, reads in found:
                if not isinstance(match, Match) or not _intact(match, reads) or (rule.NAME, _name(match)) in given_up:
                    continue
                step = _apply(work, origin, rule, match, seed + len(steps), keep)
                if isinstance(step, Refusal):
                    given_up.add((rule.NAME, _name(match)))
                steps.append(step)
            if len(steps) == before:
                still_at[rule.NAME] = before
    return steps, tuple(place for rule in rules for place in refused[rule.NAME])


def _name(match: Match) -> str:
    return match.outputs[0].name


def _reads(place: Match | Refusal) -> list[tuple[object, object]]:
    return [(node.args, node.kwargs) for node in place.nodes] if isinstance(place, Match) else []


def _intact(match: Match, reads: list[tuple[object, object]]) -> bool:
    """Whether earlier rewrites of the same search have left the place as it was found, with what it reads."""
    if any(node._erased for node in match.nodes) or _reads(match) != reads:
        return False
    inside = set(match.nodes)
    inner = inside - set(match.outputs)
    return all(user in inside for node in inner for user in node.users)


def _apply(
    work: GraphModule,
    origin: dict[Node, Node],
    rule: ModuleType,
    match: Match,
    seed: int,
    keep: Callable[[Tensor], Tensor] | None,
) -> Rewrite | Refusal:
    """One rewrite, kept if its region computes the same before and after; `work` is otherwise as it was.

    `origin` has for each node of `work` the captured one whose value it has; what replaces a node takes it over.
    """
    before = tuple(_describe(node) for node in match.nodes)
    present = set(work.graph.nodes)
    with work.graph.inserting_before(match.outputs[0]):
        replacements = rule.rewrite(work, match)
    added = [node for node in work.graph.nodes if node not in present]
    error = _error(work, match, added, replacements, seed)
    if not error <= LIMIT:
        _erase(work, added)
        return Refusal(rule.NAME, match.where, f"its proof failed: {error:.1e} relative error in float64")
    for old, new in zip(match.outputs, replacements, strict=True):
        old.replace_all_uses_with(new, propagate_meta=False)
        if old in origin:
            origin.setdefault(new, origin[old])
    after = tuple(_describe(node) for node in added if node.op == "call_function")
    _erase(work, match.nodes)
    if keep is not None:
        round_off(added, keep)
    return Rewrite(rule.NAME, match.where, before, after, error)


def _error(work: GraphModule, match: Match, added: Sequence[Node], replacements: Sequence[Node], seed: int) -> float:
    inside = set(match.nodes)
    read = {node for inner in match.nodes for node in inner.all_input_nodes if node not in inside}
    inputs = sorted(node for node in read if constant(work, node) is None)
    calls = (*sorted(match.nodes), *added)
    values = random_values(inputs, seed, window=window(calls, inputs))
    return max(
        relative_error(*(run_region(work, values, outputs, leak=leak) for outputs in (match.outputs, replacements)))
        for leak in leaks(calls)
    )


def _erase(work: GraphModule, nodes: Sequence[Node]) -> None:
    """Remove nodes nobody reads, and the weights that only they read."""
    for node in sorted(nodes, reverse=True):
        read = list(node.all_input_nodes)
        if not node.users and not node._erased:
            work.graph.erase_node(node)
        for weight in read:
            if weight.op == "get_attr" and not weight.users and not weight._erased:
                work.graph.erase_node(weight)


def _describe(node: Node) -> str:
    value = node.meta["val"]
    shape = "×".join(str(length) for length in value.shape[1:]) if isinstance(value, Tensor) else "parts"
    path = module_path(node)
    return " ".join(part for part in (operator_name(node), path, "→", shape) if part)


def _unique(refusals: Sequence[Refusal]) -> tuple[Refusal, ...]:
    """One refusal per place: a norm that two rules decline is listed with the first reason."""
    return tuple({(found.rule, found.where): found for found in reversed(refusals)}.values())[::-1]
