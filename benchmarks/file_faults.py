"""A wrong preparation, or a wrong order of classes, written into a saved file: operators before its input or behind its
output. So a fault costs what it takes to write a file, and no conversion.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

sys.path.append(str(Path(__file__).parents[1] / "tests"))
import mil_mutations
from mil_build import Program, Ref

DTYPES = {10: ("fp16", np.float16), 11: ("fp32", np.float32)}
"""The number of an element type in an ML Program → its name, and numpy's."""


def misprepare(good: Path, bad: Path, order: Sequence[int], scale: Sequence[float], shift: Sequence[float]) -> None:
    """`good` copied to `bad`, whose picture (1, 3, H, W) is taken in another `order` of channels, times `scale`, plus
    `shift` (3 each)."""
    factor, term = (np.reshape(np.asarray(values, np.float32), (1, -1, 1, 1)) for values in (scale, shift))
    if good.suffix == ".onnx":
        _misprepare_onnx(good, bad, np.asarray(order), factor, term)
    else:
        _misprepare_core_ml(good, bad, np.asarray(order, np.int32), factor, term)


def misorder(good: Path, bad: Path, order: Sequence[int]) -> None:
    """`good` copied to `bad`, whose output (N, classes) is in another `order`."""
    if good.suffix == ".onnx":
        _misorder_onnx(good, bad, np.asarray(order))
    else:
        _misorder_core_ml(good, bad, np.asarray(order, np.int32))


def _misprepare_onnx(good: Path, bad: Path, order: NDArray, factor: NDArray, term: NDArray) -> None:
    model = onnx.load(str(good))
    name = model.graph.input[0].name
    for node in model.graph.node:
        node.input[:] = ["fault_given" if read == name else read for read in node.input]
    steps = [
        helper.make_node("Gather", [name, "fault_order"], ["fault_ordered"], axis=1),
        helper.make_node("Mul", ["fault_ordered", "fault_factor"], ["fault_scaled"]),
        helper.make_node("Add", ["fault_scaled", "fault_term"], ["fault_given"]),
    ]
    nodes = [*steps, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    stored = {"fault_order": order, "fault_factor": factor, "fault_term": term}
    model.graph.initializer.extend(numpy_helper.from_array(value, key) for key, value in stored.items())
    onnx.save(model, str(bad))


def _misorder_onnx(good: Path, bad: Path, order: NDArray) -> None:
    model = onnx.load(str(good))
    name = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["fault_before" if made == name else made for made in node.output]
    model.graph.initializer.append(numpy_helper.from_array(order, "fault_order"))
    model.graph.node.append(helper.make_node("Gather", ["fault_before", "fault_order"], [name], axis=1))
    onnx.save(model, str(bad))


def _misprepare_core_ml(good: Path, bad: Path, order: NDArray, factor: NDArray, term: NDArray) -> None:
    saved = _copied(good, bad)
    (function,) = saved.message.mlProgram.functions.values()
    (given,) = function.inputs
    shape, (dtype, numpy) = _typed(given)
    for made in saved.block.operations:
        for argument in (entry for read in made.inputs.values() for entry in read.arguments):
            argument.name = "fault_given" if argument.name == given.name else argument.name
    extra = Program()
    extra.op("gather", ("fault_ordered", shape, dtype), x=Ref(given.name), indices=order, axis=np.int32(1))
    extra.op("mul", ("fault_scaled", shape, dtype), x=Ref("fault_ordered"), y=factor.astype(numpy))
    extra.op("add", ("fault_given", shape, dtype), x=Ref("fault_scaled"), y=term.astype(numpy))
    operations = [*_named_apart(extra), *saved.block.operations]
    kept = type(saved.block)()
    kept.operations.extend(operations)
    del saved.block.operations[:]
    saved.block.operations.extend(kept.operations)
    mil_mutations.write(saved, bad)


def _misorder_core_ml(good: Path, bad: Path, order: NDArray) -> None:
    saved = _copied(good, bad)
    name = saved.block.outputs[0]
    (last,) = (made for one in saved.block.operations for made in one.outputs if made.name == name)
    last.name = "fault_before"
    shape, (dtype, _) = _typed(last)
    extra = Program()
    extra.op("gather", (name, shape, dtype), x=Ref("fault_before"), indices=order, axis=np.int32(1))
    saved.block.operations.extend(_named_apart(extra))
    mil_mutations.write(saved, bad)


def _copied(good: Path, bad: Path) -> mil_mutations.Saved:
    shutil.rmtree(bad, ignore_errors=True)
    shutil.copytree(good, bad)
    return mil_mutations.read(bad)


def _typed(variable: Any) -> tuple[tuple[int, ...], tuple[str, Any]]:
    """The shape of a value of the program, and its element type."""
    kind = variable.type.tensorType
    return tuple(size.constant.size for size in kind.dimensions), DTYPES[kind.dataType]


def _named_apart(extra: Program) -> list[Any]:
    """The operations of a fragment, its constants under names that no file has."""
    for made in extra.block.operations:
        for output in made.outputs:
            output.name = f"fault_{output.name}" if made.type == "const" else output.name
        for argument in (entry for read in made.inputs.values() for entry in read.arguments):
            known = argument.name.startswith("c") and argument.name[1:].isdigit()
            argument.name = f"fault_{argument.name}" if known else argument.name
    return list(extra.block.operations)
