"""Joins by name that cannot all be right: what comes first in the file must not come last in the program.

A converter numbers the operators that it adds (`transpose_8`) as the program numbers its own, so a name may stand for
something in another place. Then some tensor is computed *from* it in the file, whose node in the program is one that
*it* is computed from: one of the two joins is wrong. A wrong one contradicts everything between its two places, a right
one those few that are wrong, so whatever contradicts most is let go, until nothing does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch.fx import Node

from ..saved.points import Tensor

Bits = dict[str, int]
"""Joined tensor → other joined tensors, one bit each."""


def in_one_order(joined: Mapping[str, Node], tensors: Sequence[Tensor]) -> dict[str, Node]:
    """`joined` (tensor name → node of one program) without the joins that contradict others. `tensors` are the file's,
    in order."""
    if not joined:
        return {}
    bit = {name: 1 << number for number, name in enumerate(joined)}
    before, behind = _in_file(bit, tensors)
    ahead, after = _in_program(joined, bit)
    against = {name: (before[name] & after[name]) | (behind[name] & ahead[name]) for name in joined}
    while (most := max((clash.bit_count() for clash in against.values()), default=0)) > 0:
        worst = [name for name, clash in against.items() if clash.bit_count() == most]
        gone = sum(bit[name] for name in worst)
        against = {name: clash & ~gone for name, clash in against.items() if name not in worst}
    return {name: node for name, node in joined.items() if name in against}


def _in_file(bit: Bits, tensors: Sequence[Tensor]) -> tuple[Bits, Bits]:
    """The joined tensors that each joined one is computed from, and those that are computed from it, in the file."""
    before: Bits = {}
    for tensor in tensors:
        before[tensor.name] = 0
        for name in tensor.reads:
            before[tensor.name] |= before.get(name, 0) | bit.get(name, 0)
    behind = {tensor.name: 0 for tensor in tensors}
    for tensor in reversed(tensors):
        for name in tensor.reads:
            if name in behind:
                behind[name] |= behind[tensor.name] | bit.get(tensor.name, 0)
    return before, behind


def _in_program(joined: Mapping[str, Node], bit: Bits) -> tuple[Bits, Bits]:
    """The same in the program."""
    name_of = {node: name for name, node in joined.items()}
    nodes = list(next(iter(joined.values())).graph.nodes)
    own = {node: bit[name_of[node]] if node in name_of else 0 for node in nodes}
    ahead = dict.fromkeys(nodes, 0)
    after = dict.fromkeys(nodes, 0)
    for node in nodes:
        for read in node.all_input_nodes:
            ahead[node] |= ahead[read] | own[read]
    for node in reversed(nodes):
        for user in node.users:
            after[node] |= after[user] | own[user]
    return {name: ahead[node] for name, node in joined.items()}, {name: after[node] for name, node in joined.items()}
