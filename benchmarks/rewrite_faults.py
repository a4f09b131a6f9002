"""Whether the proofs of folding see one wrong number in one weight: the thirty architectures of `folding.py`.

    OMP_NUM_THREADS=1 python benchmarks/rewrite_faults.py --json benchmarks/rewrite_faults.json

Each rewrite that makes a weight is judged twice: first with one number of one of its weights wrong by a thousandth,
which its proof must refuse, and then as it is. The number is drawn by lot of those that are at least a fifth of the
largest. When all is folded, the proof of the whole is made to judge the model with one number of one new weight wrong,
`--whole` times.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

from fuseport.reparam import RULES, Match, capture, driver, fold
from fuseport.reparam.graph import PENDING, double, stored
from rich.progress import track
from timm_models import THIRTY, conditioned
from torch.fx import GraphModule, Node

SHARE = 1e-3


@dataclass
class Row:
    """One model: how many faults were judged by the proof of a rewrite and by that of the whole; those that passed."""

    model: str
    rewrites: int = 0
    whole: int = 0
    passed: list[str] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=THIRTY)
    parser.add_argument("--whole", type=int, default=8, help="faults per model for the proof of the whole")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    rows = []
    for name in track(options.models):
        rows.append(measure(name, options.whole, options.seed))
        if options.json:
            figures = {"rows": [asdict(row) for row in rows], "conditions": _conditions(options.seed)}
            options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(table(rows))


def measure(name: str, whole: int, seed: int) -> Row:
    row, draw = Row(name), random.Random(seed)
    judged, held = driver._error, driver.deviation

    def error(work: GraphModule, match: Match, added: Sequence[Node], *given: Any) -> float:
        if weights := _weights(work, added):
            with _one_number_wrong(work, draw.choice(weights), draw) as where:
                seen = judged(work, match, added, *given) > driver.LIMIT
            row.rewrites += 1
            row.passed += [] if seen else [f"{match.where}: {where}"]
        return judged(work, match, added, *given)

    def deviation(captured: GraphModule, work: GraphModule, *given: Any) -> float:
        weights = [weight for weight in _weights(work, work.graph.nodes) if weight.users]
        for weight in draw.sample(weights, min(whole, len(weights))):
            with _one_number_wrong(work, weight, draw) as where:
                seen = held(captured, work, *given) > driver.WHOLE_LIMIT
            row.whole += 1
            row.passed += [] if seen else [f"the whole: {where}"]
        return held(captured, work, *given)

    module, picture = conditioned(name)
    with mock.patch.object(driver, "_error", error), mock.patch.object(driver, "deviation", deviation):
        fold(capture(module, (picture,)), RULES)
    return row


def _weights(work: GraphModule, nodes: Iterable[Node]) -> list[Node]:
    """Those that rewrites have made, and that are not zero."""
    return [node for node in nodes if PENDING in node.meta and bool(double(work, node).any())]


@contextmanager
def _one_number_wrong(work: GraphModule, weight: Node, draw: random.Random) -> Iterator[str]:
    """The weight has memory of its own meanwhile: it may be a view of another."""
    value = stored(work, weight)
    right, wrong = value.data, value.detach().clone()
    numbers = wrong.view(-1)
    place = draw.choice((numbers.abs() >= numbers.abs().max() / 5).nonzero().flatten().tolist())
    numbers[place] *= 1 + SHARE
    value.data = wrong
    try:
        yield f"number {place} of {weight.name} {tuple(value.shape)}"
    finally:
        value.data = right


def table(rows: Sequence[Row]) -> str:
    lines = ["| model | faults in rewrites | in the whole | passed |", "|---|---:|---:|---|"]
    lines += [f"| {row.model} | {row.rewrites} | {row.whole} | {'; '.join(row.passed) or '0'} |" for row in rows]
    rewrites, whole = sum(row.rewrites for row in rows), sum(row.whole for row in rows)
    passed = sum(len(row.passed) for row in rows)
    return "\n".join([*lines, f"| **all** | **{rewrites}** | **{whole}** | **{passed}** |"])


def _conditions(seed: int) -> dict[str, object]:
    return {
        "seed": seed,
        "share": SHARE,
        "processes that wanted a core": round(os.getloadavg()[1], 1),
        "machine": platform.machine(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "timm")},
    }


if __name__ == "__main__":
    main()
