"""`fuseport diff`: a pair of files that differ in one thing shows that thing; a pair that does not shows nothing."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import mil_fuzz
import numpy as np
import onnx
import pytest
from fuseport.export.artifact import NotRun
from fuseport.export.diff.compare import Difference, diff
from fuseport.export.page.write import render
from fuseport.export.report import report_json
from fuseport.export.saved.opened import ArtifactError
from mil_build import Program, Ref
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from test_cli import run

PARTS = ("file", "interface", "preprocessing", "operators", "precision", "modules", "settings", "metadata")


def numbers(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@dataclass(frozen=True)
class Net:
    """Convolution, maybe a batch norm, an activation, a mean and a linear layer, as an ONNX file."""

    kernel: NDArray = field(default_factory=lambda: numbers(4, 3, 3, 3))
    matrix: NDArray = field(default_factory=lambda: numbers(6, 4, seed=1))
    turned: bool = True
    strides: tuple[int, int] = (1, 1)
    norm: bool = False
    activation: str = "relu"
    side: int = 8
    prefix: str = ""
    names: tuple[str, str] = ("image", "logits")
    opset: int = 20
    metadata: tuple[tuple[str, str], ...] = ()
    before: tuple[tuple[str, NDArray], ...] = ()
    """Operators with a constant each that the input goes through first."""

    def save(self, path: Path) -> Path:
        given, made = self.names
        nodes, held = [], {"kernel": self.kernel, "matrix": self.matrix}
        value = given

        def add(kind: str, inputs: Sequence[str], **attributes: Any) -> str:
            out = f"{self.prefix}{kind.lower()}_{len(nodes)}"
            nodes.append(helper.make_node(kind, inputs, [out], name=f"node_{out}", **attributes))
            return out

        for at, (kind, constant) in enumerate(self.before):
            held[f"before_{at}"] = constant
            value = add(kind, [value, f"{self.prefix}before_{at}"])
        value = add("Conv", [value, f"{self.prefix}kernel"], pads=[1, 1, 1, 1], strides=list(self.strides))
        if self.norm:
            for name, number in (("scale", 1.5), ("shift", 0.1), ("mean", 0.2), ("var", 0.9)):
                held[name] = np.full(4, number, np.float32)
            stored = [f"{self.prefix}{name}" for name in ("scale", "shift", "mean", "var")]
            value = add("BatchNormalization", [value, *stored])
        value = self._activated(add, value, held)
        value = add("GlobalAveragePool", [value])
        value = add("Flatten", [value])
        nodes.append(helper.make_node("Gemm", [value, f"{self.prefix}matrix"], [made], transB=int(self.turned)))
        graph = helper.make_graph(
            nodes,
            "net",
            [helper.make_tensor_value_info(given, TensorProto.FLOAT, [1, 3, self.side, self.side])],
            [helper.make_tensor_value_info(made, TensorProto.FLOAT, [1, 6])],
            [numpy_helper.from_array(array, f"{self.prefix}{name}") for name, array in held.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10)
        helper.set_model_props(model, dict(self.metadata))
        onnx.save(model, path)
        return path

    def _activated(self, add: Any, value: str, held: dict[str, NDArray]) -> str:
        if self.activation != "gelu written out":
            return add(self.activation.capitalize(), [value])
        held |= {"root": np.float32(2**0.5), "one": np.float32(1), "half": np.float32(0.5)}
        inner = add("Erf", [add("Div", [value, f"{self.prefix}root"])])
        sum_ = add("Add", [inner, f"{self.prefix}one"])
        return add("Mul", [add("Mul", [value, sum_]), f"{self.prefix}half"])


def compared(folder: Path, a: Net, b: Net) -> Difference:
    return diff(a.save(folder / "a.onnx"), b.save(folder / "b.onnx"))


def changed(found: Difference) -> set[str]:
    """The parts in which two files differ."""
    assert not isinstance(found.answers, NotRun), found.answers
    parts = {part for part in PARTS if getattr(found, part)}
    parts |= set() if found.weights.same else {"weights"}
    return parts | ({"answers"} if any(output.max_abs != 0 for output in found.answers.outputs) else set())


PLAIN = Net()
NORMALISED = (("Sub", np.float32(0.5)), ("Div", np.full((3, 1, 1), 0.25, np.float32)))
DIFFERENT: dict[str, tuple[Net, Net, set[str]]] = {
    "nothing": (PLAIN, PLAIN, set()),
    "names inside": (PLAIN, Net(prefix="other_"), set()),
    "an attribute": (PLAIN, Net(strides=(2, 2)), {"settings", "answers"}),
    "a weight": (PLAIN, Net(matrix=PLAIN.matrix * 1.5), {"weights", "answers"}),
    "a transposed weight": (PLAIN, Net(matrix=PLAIN.matrix.T.copy(), turned=False), {"weights", "settings"}),
    "rounding": (PLAIN, Net(matrix=PLAIN.matrix.astype(np.float16).astype(np.float32)), {"weights", "answers"}),
    "an operator": (PLAIN, Net(activation="sigmoid"), {"operators", "answers"}),
    "the opset": (PLAIN, Net(opset=19), {"file"}),
    "metadata": (PLAIN, Net(metadata=(("author", "me"),)), {"metadata"}),
    "names outside": (PLAIN, Net(names=("x", "y")), {"interface"}),
    "preprocessing": (
        Net(before=NORMALISED),
        Net(before=(("Sub", np.float32(0.4)), NORMALISED[1])),
        {"preprocessing", "settings", "answers"},
    ),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_what_differs_is_shown_and_nothing_else(what: str, tmp_path: Path) -> None:
    a, b, parts = DIFFERENT[what]
    found = compared(tmp_path, a, b)
    assert changed(found) == parts
    assert found.same == (not parts)


def test_a_weight_tells_how_far_it_is(tmp_path: Path) -> None:
    found = compared(tmp_path, PLAIN, Net(matrix=PLAIN.matrix * 1.5)).weights
    pairs = {pair.a: pair for pair in found.pairs}
    assert pairs["kernel"].how == "equal"
    assert (pairs["matrix"].how, pairs["matrix"].distance) == ("changed", pytest.approx(0.5, abs=1e-6))
    assert not found.only_a
    assert not found.only_b


def test_a_transposed_weight_is_recognised_and_proven(tmp_path: Path) -> None:
    (pair,) = (
        pair
        for pair in compared(tmp_path, PLAIN, Net(matrix=PLAIN.matrix.T.copy(), turned=False)).weights.pairs
        if pair.a == "matrix"
    )
    assert (pair.how, pair.order, pair.distance) == ("permuted", (1, 0), 0.0)


def test_a_weight_of_shuffled_numbers_is_no_permutation(tmp_path: Path) -> None:
    """It has the same multiset of numbers, so only the proof tells it apart."""
    shuffled = PLAIN.matrix.copy().ravel()
    shuffled[:2] = shuffled[1::-1]
    found = compared(tmp_path, PLAIN, Net(matrix=shuffled.reshape(6, 4))).weights
    assert {pair.a: pair.how for pair in found.pairs} == {"kernel": "equal", "matrix": "changed"}


def test_renamed_weights_stand_for_each_other_unless_they_have_nothing_in_common(tmp_path: Path) -> None:
    near = compared(tmp_path, PLAIN, Net(matrix=PLAIN.matrix * 1.01, prefix="other_")).weights
    assert {(pair.a, pair.b): pair.how for pair in near.pairs} == {
        ("kernel", "other_kernel"): "equal",
        ("matrix", "other_matrix"): "changed",
    }
    far = compared(tmp_path, PLAIN, Net(matrix=numbers(6, 4, seed=9), prefix="other_")).weights
    assert [pair.a for pair in far.pairs] == ["kernel"]
    assert [one.name for one in (*far.only_a, *far.only_b)] == ["matrix", "other_matrix"]


def test_rounding_is_told_from_other_numbers(tmp_path: Path) -> None:
    half = Net(matrix=PLAIN.matrix.astype(np.float16).astype(np.float32))
    found = {pair.a: pair for pair in compared(tmp_path, PLAIN, half).weights.pairs}
    assert found["matrix"].how == "rounded"
    assert 0 < (found["matrix"].distance or 0) < 1e-3


def test_weights_that_one_file_has_alone(tmp_path: Path) -> None:
    found = compared(tmp_path, PLAIN, Net(norm=True)).weights
    assert [one.name for one in found.only_b] == ["scale", "shift", "mean", "var"]
    assert not found.same


def texts(found: Difference) -> list[tuple[str, str]]:
    return [(reason.favours, reason.text) for reason in found.reasons]


def test_why_a_file_should_be_faster(tmp_path: Path) -> None:
    """Twice the strides is a quarter of the work, which weighs more than the norm and the function spelled out."""
    slow = Net(norm=True, activation="gelu written out")
    found = texts(compared(tmp_path, slow, Net(strides=(2, 2), activation="gelu")))
    assert [favours for favours, _ in found[:3]] == ["b", "b", "b"]
    assert "multiply-accumulates" in found[0][1]
    assert "batch norms that were not folded: 1 in a, 0 in b" in found[1][1]
    assert "1 × gelu as one operation in b; a has 1 more erf" in found[2][1]
    assert any(
        "other input" in text or "same input" in text for _, text in texts(compared(tmp_path, slow, Net(side=16)))
    )


def test_equal_files_have_no_reasons(tmp_path: Path) -> None:
    assert texts(compared(tmp_path, PLAIN, Net(prefix="b_"))) == []


def test_preprocessing_is_what_is_done_not_how_it_is_written(tmp_path: Path) -> None:
    """(x - 0.5) / 0.25 is 4 x - 2."""
    written = (("Mul", np.full((3, 1, 1), 4, np.float32)), ("Add", np.float32(-2)))
    found = compared(tmp_path, Net(before=NORMALISED), Net(before=written))
    assert found.preprocessing == ()
    assert {change.what for change in found.operators} == {"sub", "real_div", "mul", "add"}
    told = compared(tmp_path, Net(before=NORMALISED), Net(before=(*NORMALISED, ("Mul", np.float32(2))))).preprocessing
    assert [(change.what, change.a, change.b) for change in told] == [
        ("image: scale", "4", "8"),
        ("image: bias", "-2", "-4"),
    ]


def package(
    folder: Path,
    name: str,
    *,
    dtype: str = "fp16",
    colour: int | None = None,
    packed: bool = False,
    description: str = "",
) -> Path:
    """A Core ML package of one 1×1 convolution, its weight plain or palettized, its input a tensor or a picture."""
    program = Program(opset=8)
    program.input("x", (1, 3, 8, 8), "fp32")
    if colour is not None:
        feature = program.model.description.input[0].type.imageType
        feature.width, feature.height, feature.colorSpace = 8, 8, colour
    value = "x"
    if dtype == "fp16":
        program.op("cast", ("half", (1, 3, 8, 8), "fp16"), x=Ref("x"), dtype="fp16")
        value = "half"
    kind = np.float16 if dtype == "fp16" else np.float32
    table = np.linspace(-1, 1, 4).astype(kind)
    indices = (np.arange(12) % 4).astype(np.uint8).reshape(4, 3, 1, 1)
    if packed:
        lut = program.const(table.reshape(1, 1, 1, 1, 4, 1), dtype=dtype)
        held = program.const(indices, dtype="uint8")
        program.op("constexpr_lut_to_dense", ("w", (4, 3, 1, 1), dtype), indices=Ref(held), lut=Ref(lut))
        weight = "w"
    else:
        weight = program.const(table[indices], dtype=dtype)
    program.op("conv", ("y", (1, 4, 8, 8), dtype), x=Ref(value), weight=Ref(weight))
    program.output("y", dtype)
    program.model.description.metadata.shortDescription = description
    return program.save(folder / name)


def test_packages_that_differ_in_nothing(tmp_path: Path) -> None:
    found = diff(package(tmp_path, "a.mlpackage"), package(tmp_path, "b.mlpackage"))
    assert changed(found) == set()
    assert found.same


def test_a_palettized_weight_holds_the_same_numbers_in_another_form(tmp_path: Path) -> None:
    found = diff(package(tmp_path, "a.mlpackage"), package(tmp_path, "b.mlpackage", packed=True))
    (pair,) = found.weights.pairs
    assert (pair.how, pair.packed_a, pair.packed_b, pair.distance) == ("equal", "", "constexpr_lut_to_dense", 0.0)
    assert changed(found) == {"weights"}


def test_float32_beside_float16(tmp_path: Path) -> None:
    found = diff(package(tmp_path, "a.mlpackage"), package(tmp_path, "b.mlpackage", dtype="fp32"))
    assert ("a", "results computed in float32: 0 of 1 in a, 1 of 1 in b") in texts(found)
    assert {"file", "precision"} <= changed(found)


def test_colours_are_part_of_the_contract(tmp_path: Path) -> None:
    found = diff(package(tmp_path, "a.mlpackage", colour=20), package(tmp_path, "b.mlpackage", colour=30))
    assert [(change.a, change.b) for change in found.preprocessing] == [("image RGB", "image BGR")]
    assert "preprocessing" in changed(found)


def test_descriptions_of_packages(tmp_path: Path) -> None:
    found = diff(package(tmp_path, "a.mlpackage"), package(tmp_path, "b.mlpackage", description="mine"))
    assert changed(found) == {"metadata"}
    assert [(change.what, change.a, change.b) for change in found.metadata] == [("description", "", "mine")]


def test_the_two_formats_of_one_export(exported: Path) -> None:
    """Their weights agree but for rounding, their work is the same, and the answers are as close as float16 allows."""
    found = diff(exported / "shvit_tiny.onnx", exported / "shvit_tiny.mlpackage")
    assert {pair.how for pair in found.weights.pairs} <= {"equal", "rounded"}
    assert not found.weights.only_b
    assert found.modules
    assert not isinstance(found.answers, NotRun)
    (output,) = found.answers.outputs
    assert 0 < (output.relative_l2 or 0) < 0.02
    assert not found.same
    assert any(favours == "b" and "float32" in text for favours, text in texts(found))


def test_a_copy_of_an_export_differs_in_nothing(exported: Path, tmp_path: Path) -> None:
    for name in ("shvit_tiny.onnx", "shvit_tiny.mlpackage"):
        copy = tmp_path / name
        (shutil.copytree if (exported / name).is_dir() else shutil.copy)(exported / name, copy)
        found = diff(exported / name, copy, run=False)
        assert found.same
        assert not any(getattr(found, part) for part in PARTS if part != "modules"), "the report is not beside the copy"
        assert isinstance(found.answers, NotRun)


def test_the_command_as_a_shell_sees_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = str(PLAIN.save(tmp_path / "a.onnx")), str(replace(PLAIN, strides=(2, 2)).save(tmp_path / "b.onnx"))
    assert run("fuseport", "diff", a, b) == 0
    printed = capsys.readouterr().out
    assert "multiply-accumulates" in printed
    assert "strides" in printed
    assert run("fuseport", "diff", a, b, "--exit-code", "--quiet") == 1
    assert run("fuseport", "diff", a, a, "--exit-code") == 0
    assert "the same byte for byte" in capsys.readouterr().out
    assert run("fuseport", "diff", a, b, "--json", "--no-run") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "fuseport.diff/1"
    assert told["answers"] == {"not_run": "left out (--no-run)"}
    assert run("fuseport", "diff", a, str(tmp_path / "missing.onnx")) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_a_difference_as_a_page_and_for_a_build_server(tmp_path: Path) -> None:
    found = compared(tmp_path, PLAIN, Net(norm=True, matrix=PLAIN.matrix * 1.5))
    report = json.loads(report_json(found))
    html = render(report, "html")
    ElementTree.fromstring(html)
    for told in ("batch norms that were not folded", "Why one should be faster", "matrix"):
        assert told in html
    assert "batch norms that were not folded" in render(report, "md")
    cases = ElementTree.fromstring(render(report, "junit")).iter("testcase")
    failed = {case.get("name") for case in cases if case.find("failure") is not None}
    assert failed == {"operators", "precision", "weights"}


def test_settings_are_found_beside_an_operator_that_was_added(tmp_path: Path) -> None:
    found = compared(tmp_path, PLAIN, Net(strides=(2, 2), norm=True))
    assert [(change.what, change.a, change.b) for change in found.settings] == [
        ("node_conv_0 Conv: strides", "[1, 1]", "[2, 2]")
    ]


def test_answers_are_not_compared_where_inputs_do_not_fit(tmp_path: Path) -> None:
    found = compared(tmp_path, PLAIN, Net(side=16))
    assert isinstance(found.answers, NotRun)
    assert found.answers.reason == (
        "their inputs do not fit each other: image float32 (1, 3, 8, 8), beside image float32 (1, 3, 16, 16)"
    )
    assert not found.same


def test_damaged_files_are_compared_or_refused(tmp_path: Path) -> None:
    pristine = Net(norm=True, before=NORMALISED).save(tmp_path / "pristine.onnx")
    damaged = tmp_path / "damaged.onnx"
    for seed in range(100):
        damaged.write_bytes(mil_fuzz.damage_bytes(pristine.read_bytes(), random.Random(seed)))
        with contextlib.suppress(ArtifactError):
            assert diff(pristine, damaged, run=False).schema


def test_what_cannot_be_read_is_refused_in_one_line(tmp_path: Path) -> None:
    good, bad = PLAIN.save(tmp_path / "a.onnx"), tmp_path / "b.onnx"
    bad.write_bytes(b"no model")
    with pytest.raises(ArtifactError) as error:
        diff(good, bad)
    assert "\n" not in str(error.value)
