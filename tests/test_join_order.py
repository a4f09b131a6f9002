"""Names that came back in another place are no joins, and right joins stay, whatever else is wrong."""

from __future__ import annotations

import pytest
import torch
from fuseport.export.proof.join_order import in_one_order
from fuseport.export.saved.points import Tensor
from torch.fx import Graph, Node

CHAIN = ("a", "b", "c", "d", "e")


def program() -> dict[str, Node]:
    """Five operators in a row, with a branch from the first to the last."""
    graph = Graph()
    at = first = graph.placeholder("x")
    nodes = {}
    for name in CHAIN:
        at = graph.create_node("call_function", torch.add, (at, nodes.get("a", first)), name=name)
        nodes[name] = at
    return nodes


def file(*rows: tuple[str, str]) -> list[Tensor]:
    return [Tensor(name, "Add", (1,), tuple(reads.split()), "") for name, reads in rows]


RIGHT = (("a", "x"), ("b", "a"), ("other", "b a"), ("c", "other"), ("d", "c"), ("e", "d a"))


@pytest.mark.parametrize(
    ("rows", "kept"),
    [
        (RIGHT, CHAIN),
        ((("e", "x"), ("a", "e"), ("b", "a"), ("c", "b"), ("d", "c")), CHAIN[:-1]),
        ((("b", "x"), ("c", "b"), ("d", "c"), ("a", "d"), ("e", "a")), ("b", "c", "d", "e")),
        ((("b", "x"), ("a", "b"), ("c", "a"), ("d", "c"), ("e", "d")), ("c", "d", "e")),
        ((("e", "x"), ("d", "e"), ("c", "d"), ("b", "c"), ("a", "b")), ()),
    ],
    ids=["right", "the last is first", "the first is last", "neighbours exchanged", "all reversed"],
)
def test_what_contradicts_most_is_let_go(rows: tuple[tuple[str, str], ...], kept: tuple[str, ...]) -> None:
    assert tuple(in_one_order(program(), file(*rows))) == kept


def test_joins_of_branches_do_not_contradict_each_other() -> None:
    graph = Graph()
    x = graph.placeholder("x")
    nodes = {name: graph.create_node("call_function", torch.neg, (x,), name=name) for name in CHAIN}
    assert tuple(in_one_order(nodes, file(*((name, "x") for name in reversed(CHAIN))))) == CHAIN
    assert in_one_order({}, file(*RIGHT)) == {}
