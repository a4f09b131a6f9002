"""Prove one saved file: run it on every engine that there is, and hold the answers against the model's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import GraphModule

from ...reparam import Folded
from ...reparam.graph import reached_outputs
from ...validate.layer_errors import Layer
from ...validate.parity import Parity, compare, predict
from ...validate.verdict import Tolerance
from ..artifact import Artifact, NotRun
from ..job import Checks
from ..saved.engines import Engine, Rounds, engines
from ..subject import Subject, Values, network_input, truth
from .costs import Costs, Key, Makers
from .graph_check import GRAVE, GraphError, graph_error
from .locate import Located, locate
from .rounded import answers_of_mixed, answers_of_rounded_values, answers_of_rounded_weights, decisions, neighbours

Mixed = tuple[ExportedProgram, tuple[str, ...]]
"""A program, and the nodes of it that a float16 file keeps in float32."""


@dataclass(frozen=True)
class Check:
    """How a file compares with the model when `engine` runs it."""

    engine: str
    parity: Parity | NotRun
    layer: Layer | None = None
    """Where the error of a failed check begins, if one layer stands out."""
    graph: GraphError | None = None
    """What is left of the error of a float16 file when float16 is taken out of it."""


@dataclass(frozen=True)
class Yardstick:
    """What files are held against: the unfolded model in float64 and in float32, and what float16 must cost."""

    truth: Values
    reference: Values
    costs: Costs
    """(precision, what is rounded to it) → the folded model's answers. Float32 has none: its cost is the floor."""
    neighbours: dict[Key, list[Values]]
    """The same key → the unfolded model's answers under noise of that size; empty where it makes no choices."""
    fixed: tuple[str, ...] = ()
    """The outputs that no input reaches."""
    graph: bool = False
    """Whether the costs of rounded weights are those of the very constants that a float16 file stores."""


def yardstick(
    subject: Subject, folded: Folded, captured: GraphModule, precisions: set[str], mixed: Mixed | None = None
) -> Yardstick:
    """Run the model in the ways that the files' precisions call for.

    `captured` is the graph before folding: how near its choices are to a tie must not depend on what is to be judged.
    `mixed` is the program that a float16 file is converted from, with the nodes that it keeps in float32. Without it
    the weights of the folded model are rounded, and not the constants inside operators: the graph is then not judged
    on its own. So much is only known once the file is: the costs are made when they are asked for then, else at once.
    """
    inputs, size, module = network_input(subject), subject.batch, folded.module

    def named(found: list[NDArray]) -> Values:
        return dict(zip(subject.output_names, found, strict=True))

    costs = Costs({})
    if "float16" in precisions:
        costs = Costs(
            {
                ("float16", "all values"): lambda: named(_of_values(module, mixed, inputs, size)),
                ("float16", "weights"): lambda: named(_of_weights(module, mixed, inputs, size)),
            }
        )
    near: dict[Key, list[Values]] = {}
    if decisions(captured):
        everywhere: list[Key] = [(precision, "all values") for precision in sorted(precisions)]
        for key in {**dict.fromkeys(everywhere), **dict.fromkeys(costs)}:
            found = neighbours(captured, inputs, key[0], size, weights_only=key[1] == "weights")
            near[key] = [named(one) for one in found]
    fixed = tuple(
        name for name, reached in zip(subject.output_names, reached_outputs(module), strict=True) if not reached
    )
    if mixed is not None:
        costs.settle()
    return Yardstick(truth(subject), subject.reference, costs, near, fixed, graph=mixed is not None)


def with_constants(ours: Yardstick, subject: Subject, mixed: Mixed) -> Yardstick:
    """The same, with the costs of a float16 file of `mixed`, whose graph can then be judged on its own."""
    inputs, size = network_input(subject), subject.batch

    def made(rounds: Rounds) -> Values:
        return dict(zip(subject.output_names, answers_of_mixed(*mixed, rounds, inputs, size), strict=True))

    rounded: tuple[Rounds, ...] = ("weights", "all values") if mixed[1] else ("weights",)
    others: Makers = {("float16", rounds): partial(made, rounds) for rounds in rounded}
    return replace(ours, costs=ours.costs.with_others(others), graph=True)


def _of_values(module: GraphModule, mixed: Mixed | None, inputs: Sequence[Tensor], size: int) -> list[NDArray]:
    if mixed is not None and mixed[1]:
        return answers_of_mixed(*mixed, "all values", inputs, size)
    return answers_of_rounded_values(module, inputs, size)


def _of_weights(module: GraphModule, mixed: Mixed | None, inputs: Sequence[Tensor], size: int) -> list[NDArray]:
    if mixed is not None:
        return answers_of_mixed(*mixed, "weights", inputs, size)
    return answers_of_rounded_weights(module, inputs, size)


def check(artifact: Artifact, subject: Subject, ours: Yardstick, options: Checks) -> tuple[Check, ...]:
    """Open the saved file in each engine of its format, run it, compare. The weights of `subject` are not read."""
    feed = laid_out(artifact, subject.feed)
    return tuple(_checked(engine, artifact, feed, subject, ours, options) for engine in engines(artifact))


def _checked(
    engine: Engine, artifact: Artifact, feed: Values, subject: Subject, ours: Yardstick, options: Checks
) -> Check:
    run = engine.open()
    if isinstance(run, NotRun):
        return Check(engine.name, run)
    made = predict(run, feed, batch=_fixed_batch(artifact))
    given = {name: values for name, values in made.items() if name not in _added(artifact)}
    return judged(engine, artifact, _parity(engine, artifact, given, subject, ours, options), ours, given)


def judged(engine: Engine, artifact: Artifact, parity: Parity, ours: Yardstick, given: Values) -> Check:
    """The check, with what is left of a passing float16 file's error when float16 is taken out of it."""
    if not ours.graph or parity.verdict != "passed" or (artifact.precision, engine.rounds) != ("float16", "weights"):
        return Check(engine.name, parity)
    found = graph_error(ours.truth, ours.reference, ours.costs["float16", "weights"], given)
    told = f"{parity.reason}; {found.told()}" if found else parity.reason
    return Check(engine.name, replace(parity, reason=told), graph=found)


def explained(
    checks: tuple[Check, ...], artifact: Artifact, subject: Subject, program: ExportedProgram
) -> tuple[Check, ...]:
    """The checks, those that failed with the layer at which they do. `artifact` was converted from `program`.

    A float16 file whose graph is beyond its bound fails here, if one of its layers is plainly wrong.
    """
    feed = laid_out(artifact, subject.feed)
    rounds: dict[str, Rounds] = {engine.name: engine.rounds for engine in engines(artifact)}
    return tuple(
        _explained(
            graph_explained(made, artifact, feed, subject, program),
            rounds[made.engine],
            artifact,
            feed,
            subject,
            program,
        )
        for made in checks
    )


def graph_explained(made: Check, artifact: Artifact, feed: Values, subject: Subject, program: ExportedProgram) -> Check:
    """The check, failed if its graph is beyond its bound and one layer plainly wrong; `feed` as the file takes it."""
    graph = made.graph
    if graph is None or graph.passes:
        return made
    assert isinstance(made.parity, Parity)
    located = locate(artifact, subject, program, feed, rounds="weights")
    if located.layer is None or located.layer.excess <= GRAVE:
        reason = f"{made.parity.reason}, but no layer by more than constants rounded another way explain"
        return replace(made, parity=replace(made.parity, reason=reason))
    reason = f"{graph.told()}; {located.reason}"
    first, *rest = made.parity.outputs
    outputs = (replace(first, verdict="failed", reason=reason), *rest)
    parity = replace(made.parity, verdict="failed", reason=f"{first.name}: {reason}", outputs=outputs)
    return replace(made, parity=parity, layer=located.layer)


def _explained(
    made: Check, rounds: Rounds, artifact: Artifact, feed: Values, subject: Subject, program: ExportedProgram
) -> Check:
    if isinstance(made.parity, NotRun) or made.parity.verdict != "failed" or made.layer is not None:
        return made
    failed = next(output for output in made.parity.outputs if output.verdict == "failed")
    located = locate(artifact, subject, program, feed, rounds=rounds, sample=failed.worst_sample or 0)
    reason = f"{made.parity.reason}; {located.reason}{_advice(artifact, located)}"
    return replace(made, parity=replace(made.parity, reason=reason), layer=located.layer)


def _advice(artifact: Artifact, located: Located) -> str:
    """What to do where no layer is wrong and float16 is the matter."""
    if located.layer is not None or artifact.precision != "float16":
        return ""
    return "; --precision auto finds the operators that must stay in float32"


def _parity(
    engine: Engine, artifact: Artifact, given: Values, subject: Subject, ours: Yardstick, options: Checks
) -> Parity:
    return compare(
        ours.truth,
        ours.reference,
        given,
        precision=artifact.precision,
        precision_cost=ours.costs.get((artifact.precision, engine.rounds)),
        neighbours=ours.neighbours.get(run_of(artifact, engine), ()),
        labels=subject.choices,
        fixed=ours.fixed,
        tolerance=tolerance(options),
        inputs=subject.inputs,
    )


def run_of(artifact: Artifact, engine: Engine) -> tuple[str, Rounds]:
    """The key of `Yardstick.neighbours`. Float32 files are run in one way: all their values are rounded, or none."""
    return artifact.precision, "all values" if artifact.precision == "float32" else engine.rounds


def tolerance(options: Checks) -> Tolerance | None:
    """The user's own bound, or None for the measured one."""
    if options.atol is None and options.rtol is None:
        return None
    return Tolerance(atol=options.atol or 0.0, rtol=options.rtol or 0.0)


def laid_out(artifact: Artifact, feed: Values) -> Values:
    """The inputs as an artifact takes them: pictures, kept (N, H, W, 3), turned where it wants (N, 3, H, W), and whole
    numbers in its own type."""
    turned = {given.name for given in artifact.inputs if given.kind == "image" and given.shape[1] == 3}
    types = {given.name: given.dtype for given in artifact.inputs}
    return {
        name: np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if name in turned else _typed(x, types.get(name))
        for name, x in feed.items()
    }


def _typed(values: NDArray, dtype: str | None) -> NDArray:
    return values if values.dtype.kind == "f" or dtype is None else values.astype(dtype, copy=False)


def _fixed_batch(artifact: Artifact) -> int | None:
    size = artifact.inputs[0].shape[0]
    return size if isinstance(size, int) else None


def _added(artifact: Artifact) -> set[str]:
    """Outputs that the format adds to the model's: a class label and its probabilities."""
    return {output.name for output in artifact.outputs if output.kind in ("label", "probabilities")}
