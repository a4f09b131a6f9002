"""Two contents → their difference, part by part. Nothing is run here but, if asked for, both files on one input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

from ..artifact import NotRun, TensorSpec, in_one_line
from ..formats.to_onnx import NAME as ONNX
from ..saved.opened import ArtifactError, open_artifact
from .answers import Answers, answers
from .contents import Contents, Node
from .contract import contracts
from .of_mil import read_mil
from .of_onnx import read_onnx
from .reasons import Reason, Totals, reasons, totals
from .weights import WeightDifference, weight_difference

SCHEMA = "fuseport.diff/1"
LOOSE = ("fuseport.export_id", "com.github.apple.coremltools.conversion_date")
"""Metadata that follows from the rest, or from the day."""

VERSIONS = ("opset", "ir_version", "functions", "external_data")


@dataclass(frozen=True)
class Change:
    """One thing that both files say, and say differently; "" where a file does not say it."""

    what: str
    a: str
    b: str


@dataclass(frozen=True)
class Side:
    """One of the two files."""

    name: str
    path: str
    format: str
    precision: str
    sha256: str
    totals: Totals


@dataclass(frozen=True)
class ModuleChange:
    """A PyTorch module whose operations differ: kinds with their counts, where they differ, and MACs."""

    module: str
    operators: tuple[Change, ...]
    macs: tuple[int, int]


@dataclass(frozen=True)
class Difference:
    """All that differs. A part that does not differ is empty; `answers` has the distance of the answers."""

    schema: str
    a: Side
    b: Side
    same: bool
    """Whether nothing differs that a file says, computes or costs. Names inside the files do not count."""
    reasons: tuple[Reason, ...]
    file: tuple[Change, ...]
    interface: tuple[Change, ...]
    preprocessing: tuple[Change, ...]
    operators: tuple[Change, ...]
    precision: tuple[Change, ...]
    modules: tuple[ModuleChange, ...]
    settings: tuple[Change, ...]
    weights: WeightDifference
    metadata: tuple[Change, ...]
    answers: Answers | NotRun


def diff(a: Path, b: Path, *, run: bool = True, seed: int = 0) -> Difference:
    """What differs between two saved files, .onnx or .mlpackage each. Raises ArtifactError for what cannot be read."""
    first, second = _read(a), _read(b)
    outcome = answers(first.artifact, second.artifact, seed=seed) if run else NotRun("left out (--no-run)")
    return difference(first, second, outcome)


def _read(path: Path) -> Contents:
    try:
        artifact = open_artifact(path)
        return read_onnx(artifact) if artifact.format == ONNX else read_mil(artifact)
    except ArtifactError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError) as error:  # text that is none, numbers of no type
        raise ArtifactError(f"{path}: is damaged, or something else: {in_one_line(error)}") from error


def difference(a: Contents, b: Contents, outcome: Answers | NotRun) -> Difference:
    """The same for contents that were read."""
    weights = weight_difference(a.weights, b.weights)
    parts = {
        "file": _file(a, b),
        "interface": tuple(_interface(a, b)),
        "preprocessing": tuple(_preprocessing(a, b)),
        "operators": _counts(Counter(node.kind for node in a.nodes), Counter(node.kind for node in b.nodes)),
        "precision": _counts(Counter(node.dtype for node in a.nodes), Counter(node.dtype for node in b.nodes)),
        "modules": tuple(_modules(a, b)),
        "settings": tuple(_settings(a, b)),
        "metadata": _changes(_metadata(a), _metadata(b)),
    }
    equal = not isinstance(outcome, Answers) or all(output.max_abs == 0 for output in outcome.outputs)
    return Difference(
        schema=SCHEMA,
        a=_side(a),
        b=_side(b),
        same=a.artifact.sha256 == b.artifact.sha256 or (not any(parts.values()) and weights.same and equal),
        reasons=reasons(a, b, weights),
        weights=weights,
        answers=outcome,
        **parts,
    )


def _side(contents: Contents) -> Side:
    made = contents.artifact
    return Side(made.path.name, str(made.path), made.format, made.precision, made.sha256, totals(contents))


def _changes(a: Mapping[str, str], b: Mapping[str, str]) -> tuple[Change, ...]:
    names = dict.fromkeys([*a, *b])
    return tuple(Change(name, a.get(name, ""), b.get(name, "")) for name in names if a.get(name) != b.get(name))


def _counts(a: Mapping[str, int], b: Mapping[str, int]) -> tuple[Change, ...]:
    """Largest differences first."""
    found = _changes({key: str(count) for key, count in a.items()}, {key: str(count) for key, count in b.items()})
    return tuple(sorted(found, key=lambda change: -abs(int(change.a or 0) - int(change.b or 0))))


def _file(a: Contents, b: Contents) -> tuple[Change, ...]:
    """Format and precision; versions where the formats agree, since those of two formats cannot be compared."""
    sides = [{"format": made.format, "precision": made.precision} for made in (a.artifact, b.artifact)]
    if a.artifact.format == b.artifact.format:
        for side, made in zip(sides, (a.artifact, b.artifact), strict=True):
            side |= {key: str(made.details[key]) for key in VERSIONS if key in made.details}
    return _changes(*sides)


def _interface(a: Contents, b: Contents) -> Iterator[Change]:
    """Inputs by name where both have it, else in their order; the same for outputs."""
    for what, first, second in (
        ("input", a.artifact.inputs, b.artifact.inputs),
        ("output", a.artifact.outputs, b.artifact.outputs),
    ):
        for left, right in _together(first, second):
            before, after = _told(left), _told(right)
            if before != after:
                yield Change(what, before, after)


def _together(
    a: tuple[TensorSpec, ...], b: tuple[TensorSpec, ...]
) -> Iterator[tuple[TensorSpec | None, TensorSpec | None]]:
    names = {one.name: one for one in b}
    rest = [one for one in b if one.name not in {other.name for other in a}]
    for one in a:
        yield one, names[one.name] if one.name in names else rest.pop(0) if rest else None
    yield from ((None, one) for one in rest)


def _told(spec: TensorSpec | None) -> str:
    return "" if spec is None else f"{spec.name}: {spec.kind} {spec.dtype} {'×'.join(map(str, spec.shape)) or 'scalar'}"


def _preprocessing(a: Contents, b: Contents) -> Iterator[Change]:
    for first, second in zip(contracts(a), contracts(b), strict=False):
        for field in ("declared", "layout", "scale", "bias"):
            before, after = getattr(first, field), getattr(second, field)
            if before != after:
                yield Change(f"{first.name}: {field}", before, after)


def _modules(a: Contents, b: Contents) -> Iterator[ModuleChange]:
    """Nothing where the files do not tell the same modules."""
    if not _same_modules(a.nodes, b.nodes):
        return
    sides = [_by_module(contents) for contents in (a, b)]
    macs = [_macs_by_module(contents) for contents in (a, b)]
    for module in dict.fromkeys([*sides[0], *sides[1]]):
        changed = _counts(*(side.get(module, Counter()) for side in sides))
        work = (macs[0].get(module, 0), macs[1].get(module, 0))
        if changed or work[0] != work[1]:
            yield ModuleChange(module, changed, work)


def _by_module(contents: Contents) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for node in contents.nodes:
        found.setdefault(node.module, Counter())[node.kind] += 1
    return found


def _same_modules(a: Sequence[Node], b: Sequence[Node]) -> bool:
    """Whether both name modules, and at least half of them alike: some tools write `fc1` for all that end so."""
    named = [{node.module for node in nodes} - {""} for nodes in (a, b)]
    return 2 * len(named[0] & named[1]) >= min(map(len, named)) > 0


def _macs_by_module(contents: Contents) -> Counter[str]:
    found: Counter[str] = Counter()
    if not isinstance(contents.cost, NotRun):
        for layer in contents.cost:
            found[layer.module] += layer.macs
    return found


def _settings(a: Contents, b: Contents) -> Iterator[Change]:
    """Attributes of the nodes that stand for each other: both programs are walked in order. One format only."""
    if a.artifact.format != b.artifact.format:
        return
    for first, second in _aligned(a.nodes, b.nodes):
        for change in _changes(dict(first.settings), dict(second.settings)):
            yield Change(f"{first.module or first.name} {first.operator}: {change.what}", change.a, change.b)


def _aligned(a: Sequence[Node], b: Sequence[Node]) -> Iterator[tuple[Node, Node]]:
    """Pairs of nodes that stand for each other: operators in the same order, within the same module if both tell."""
    if [node.operator for node in a] == [node.operator for node in b]:
        yield from zip(a, b, strict=True)
        return
    alike = _same_modules(a, b)
    keys = [[(node.operator, node.module if alike else "") for node in nodes] for nodes in (a, b)]
    for at, other, length in SequenceMatcher(None, *keys, autojunk=False).get_matching_blocks():
        yield from zip(a[at : at + length], b[other : other + length], strict=True)


def _metadata(contents: Contents) -> dict[str, str]:
    return {key: value for key, value in contents.metadata.items() if key not in LOOSE}
