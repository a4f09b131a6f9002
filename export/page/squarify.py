"""Nested areas for a tree of amounts: squarified treemaps (Bruls, Huizing and van Wijk, 2000).

Every area is exactly proportional to its amount within its parent; a parent keeps a strip on top for its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

MOST = 300
"""Modules that are drawn; the smallest ones are drawn as one per top-level module."""

DEEPEST = 12
"""Levels of a tree; what lies deeper is not parted."""


@dataclass
class Tree:
    """A module with what lies below it; `own` is what it does itself, `total` includes its children."""

    path: str
    own: float = 0.0
    children: dict[str, Tree] = field(default_factory=dict)

    @property
    def total(self) -> float:
        return self.own + sum(child.total for child in self.children.values())


@dataclass(frozen=True)
class Area:
    """One module's rectangle, in the unit of the whole. `label` is the path below the parent's, `group` counts the
    top-level modules, and what is no leaf holds the areas of its children below a strip for its label."""

    path: str
    label: str
    amount: float
    x: float
    y: float
    width: float
    height: float
    group: int
    depth: int
    leaf: bool


def tree(amounts: Iterable[tuple[str, float]]) -> Tree:
    """The tree of dotted paths; amounts that are not above zero are left out, small ones are summed per parent."""
    positive = [(path, amount) for path, amount in amounts if amount > 0]
    large = sorted(positive, key=lambda pair: -pair[1])
    root = Tree("")
    for path, amount in large[:MOST]:
        _grow(root, path.split(".", DEEPEST) if path else [], amount)
    for path, amount in large[MOST:]:
        _grow(root, [*path.split(".")[:1], "(smaller)"], amount)
    return root


def _grow(node: Tree, parts: Sequence[str], amount: float) -> None:
    for part in parts:
        node = node.children.setdefault(part, Tree(f"{node.path}.{part}" if node.path else part))
    node.own += amount


def layout(root: Tree, width: float, height: float, title: float) -> list[Area]:
    """The areas of all modules below `root`, parents before children, in a box of `width` × `height`.

    `title` is the height of a parent's strip; a parent too small for one gives its whole area to its children.
    """
    return list(_lay(root, (0.0, 0.0, width, height), title, 0, 0))


Box = tuple[float, float, float, float]


def _lay(node: Tree, box: Box, title: float, group: int, depth: int) -> Iterator[Area]:
    parts = sorted(_parts(node), key=lambda part: -part.total)
    for i, (part, (x, y, w, h)) in enumerate(zip(parts, _fill([p.total for p in parts], box), strict=True)):
        family, leaf = (i if depth == 0 else group), not part.children
        yield Area(part.path, _below(part.path, node.path), part.total, x, y, w, h, family, depth, leaf)
        if not leaf:
            strip = title if h > 2.5 * title and w > 3 * title else 0.0
            yield from _lay(part, (x, y + strip, w, h - strip), title, family, depth + 1)


def _parts(node: Tree) -> Iterator[Tree]:
    """What a node is divided into; a chain of single children is one part with the longest name."""
    for child in node.children.values():
        while len(child.children) == 1 and not child.own:
            child = next(iter(child.children.values()))
        yield child
    if node.own:
        yield Tree(node.path, node.own)


def _below(path: str, parent: str) -> str:
    return path[len(parent) :].lstrip(".") or "(itself)"


def _fill(amounts: Sequence[float], box: Box) -> Iterator[Box]:
    """One box per amount, largest first: rows along the shorter side, each as long as its boxes get squarer."""
    x, y, width, height = box
    while amounts:
        side = min(width, height)
        scale = width * height / sum(amounts)
        row = _row(amounts, side, scale)
        thick = sum(row) * scale / side if side > 0 else 0.0
        along = 0.0
        for amount in row:
            long = side * amount / sum(row)
            yield (x, y + along, thick, long) if width >= height else (x + along, y, long, thick)
            along += long
        if width >= height:
            x, width = x + thick, max(0.0, width - thick)
        else:
            y, height = y + thick, max(0.0, height - thick)
        amounts = amounts[len(row) :]


def _row(amounts: Sequence[float], side: float, scale: float) -> Sequence[float]:
    """The first amounts whose boxes, in one row along `side`, are squarer than with one amount fewer or more."""
    worst = _worst(amounts[:1], side, scale)
    for stop in range(2, len(amounts) + 1):
        longer = _worst(amounts[:stop], side, scale)
        if longer > worst:
            return amounts[: stop - 1]
        worst = longer
    return amounts


def _worst(row: Sequence[float], side: float, scale: float) -> float:
    """The largest ratio of sides among the boxes of a row along `side`."""
    area = sum(row) * scale
    if area <= 0 or side <= 0 or row[-1] * scale <= 0:
        return float("inf")
    return max(side**2 * row[0] * scale / area**2, area**2 / (side**2 * row[-1] * scale))
