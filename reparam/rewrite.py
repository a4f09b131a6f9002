"""The nouns of folding: a place where a rule applies, what was done there, and what was left alone and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.fx import GraphModule, Node

    from .cost import Cost


@dataclass(frozen=True)
class Match:
    """A place where a rule applies.

    `nodes` disappear, in the order of the graph; `outputs` are those of them that others read, each to be replaced by
    one new node. `plan` is what the rule's `find` has worked out for its `rewrite`.
    """

    nodes: tuple[Node, ...]
    outputs: tuple[Node, ...]
    where: str
    plan: object = None


@dataclass(frozen=True)
class Refusal:
    """A place that looks like a rule's but is left as it is; `where` is a module path."""

    rule: str
    where: str
    reason: str


@dataclass(frozen=True)
class Rewrite:
    """One rewrite that was made. `error` is the largest relative deviation of its region in float64 on random data."""

    rule: str
    where: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    error: float


@dataclass(frozen=True)
class Folded:
    """The folded graph, and the account of how it came about.

    `error` is the largest relative deviation in float64, before weights are rounded, of any value that the folded model
    has in common with the captured one, its outputs among them (`lockstep.py`). In a heavy model (`driver.HEAVY_BYTES`)
    weights are rounded by then.
    """

    module: GraphModule
    rewrites: tuple[Rewrite, ...]
    refusals: tuple[Refusal, ...]
    before: Cost
    after: Cost
    error: float
