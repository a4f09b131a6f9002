"""Apply the rules to a captured graph until none finds anything more, proving each rewrite before it is kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import ModuleType

from torch import Tensor
from torch.fx import GraphModule, Node

from .cost import count
from .graph import constant, copy_of, module_path, operator_name, settle
from .proof import random_values, relative_error, run_float64, run_region
from .rewrite import Folded, Match, Refusal, Rewrite

LIMIT = 1e-10
"""Largest relative deviation in float64 that a rewrite may show: 10⁵ roundings, far below any wrong formula."""

WHOLE_LIMIT = 1e-6
"""The same for the whole model, whose layers amplify roundings; no wrong rewrite stays below it."""


class FoldError(ValueError):
    """The folded model does not compute what the captured one does."""


def fold(captured: GraphModule, rules: Sequence[ModuleType], *, seed: int = 0) -> Folded:
    """`captured` (from `capture`, left as it is) with every rule applied wherever it is exact.

    Each rule has `NAME`, `find(module)` and `rewrite(module, match)`. A rewrite whose proof fails is taken back and
    becomes a refusal. Raises FoldError if the whole model deviates in the end.
    """
    work = copy_of(captured)
    inputs = _inputs(captured, seed)
    truth = run_float64(captured, inputs)
    rewrites = _until_still(work, rules, seed)
    refusals = tuple(found for rule in rules for found in rule.find(work) if isinstance(found, Refusal))
    error = relative_error(truth, run_float64(work, inputs))
    if not error <= WHOLE_LIMIT:
        raise FoldError(f"the folded model deviates from the captured one by {error:.1e} of its scale in float64")
    made = tuple(step for step in rewrites if isinstance(step, Rewrite))
    failed = tuple(step for step in rewrites if isinstance(step, Refusal))
    before = count(captured)
    folded = settle(work)
    return Folded(folded, made, _unique(failed + refusals), before, count(folded), error)


def _inputs(captured: GraphModule, seed: int) -> list[Tensor]:
    placeholders = [node for node in captured.graph.nodes if node.op == "placeholder"]
    return list(random_values(placeholders, seed).values())


def _until_still(work: GraphModule, rules: Sequence[ModuleType], seed: int) -> list[Rewrite | Refusal]:
    steps: list[Rewrite | Refusal] = []
    given_up: set[tuple[str, str]] = set()
    while True:
        done = len(steps)
        for rule in rules:
            for match in _matches(work, rule):
                if (rule.NAME, match.outputs[0].name) in given_up:
                    continue
                step = _apply(work, rule, match, seed + len(steps))
                if isinstance(step, Refusal):
                    given_up.add((rule.NAME, match.outputs[0].name))
                steps.append(step)
        if len(steps) == done:
            return steps


def _matches(work: GraphModule, rule: ModuleType) -> Iterator[Match]:
    """The rule's matches in a graph that changes meanwhile, without those whose nodes an earlier rewrite has taken."""
    for match in [found for found in rule.find(work) if isinstance(found, Match)]:
        if not any(node._erased for node in match.nodes):
            yield match


def _apply(work: GraphModule, rule: ModuleType, match: Match, seed: int) -> Rewrite | Refusal:
    """One rewrite, kept if its region computes the same before and after; `work` is otherwise as it was."""
    before = tuple(_describe(node) for node in match.nodes)
    present = set(work.graph.nodes)
    with work.graph.inserting_before(match.outputs[0]):
        replacements = rule.rewrite(work, match)
    added = [node for node in work.graph.nodes if node not in present]
    error = _error(work, match, replacements, seed)
    if not error <= LIMIT:
        _erase(work, added)
        return Refusal(rule.NAME, match.where, f"its proof failed: {error:.1e} relative error in float64")
    for old, new in zip(match.outputs, replacements, strict=True):
        old.replace_all_uses_with(new, propagate_meta=False)
    after = tuple(_describe(node) for node in added if node.op == "call_function")
    _erase(work, match.nodes)
    return Rewrite(rule.NAME, match.where, before, after, error)


def _error(work: GraphModule, match: Match, replacements: Sequence[Node], seed: int) -> float:
    inside = set(match.nodes)
    read = {node for inner in match.nodes for node in inner.all_input_nodes if node not in inside}
    values = random_values(sorted(node for node in read if constant(work, node) is None), seed)
    return relative_error(run_region(work, values, match.outputs), run_region(work, values, replacements))


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
    shape = "×".join(str(length) for length in node.meta["val"].shape[1:])
    path = module_path(node)
    return " ".join(part for part in (operator_name(node), path, "→", shape) if part)


def _unique(refusals: Sequence[Refusal]) -> tuple[Refusal, ...]:
    """One refusal per place: a norm that two rules decline is listed with the first reason."""
    return tuple({(found.rule, found.where): found for found in reversed(refusals)}.values())[::-1]
