"""Executing programs: rounding in both modes, declared shapes, memory let go, control flow, state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from fuseport import mil
from fuseport.mil.arithmetic import arithmetic
from fuseport.mil.interpreter import Interpreter
from fuseport.mil.package import open_package
from mil_build import Program, Ref, affine_program, set_type


def one_operator(
    tmp_path: Path, type_: str, dtype: str = "fp16", shape: tuple[int, ...] = (3,), **inputs: object
) -> mil.Model:
    """A model of one operator on the input x, all declared as `dtype`."""
    program = Program()
    program.input("x", shape, dtype)
    program.op(type_, ("y", shape, dtype), x=Ref("x"), **inputs)
    program.output("y", dtype)
    return mil.load(program.save(tmp_path / f"{type_}.mlpackage"))


def test_declared_mode_rounds_each_result_to_its_declared_type(tmp_path: Path) -> None:
    model = one_operator(tmp_path, "square")
    x = np.array([1.001, 3.14159, 300.0], np.float32)
    half = x.astype(np.float16).astype(np.float32)
    with np.errstate(over="ignore"):
        expected = (half * half).astype(np.float16)
    found = model.predict({"x": x})["y"]
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, expected)
    assert np.isinf(found[2])  # 90,000 is beyond float16


def test_exact_mode_rounds_nothing(tmp_path: Path) -> None:
    model = one_operator(tmp_path, "square")
    x = np.array([1.001, 3.14159, 300.0], np.float64)
    found = model.predict({"x": x}, mode="exact")["y"]
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, x * x)


def test_unknown_mode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown mode 'half'; known: declared, exact"):
        one_operator(tmp_path, "square").predict({"x": np.ones(3)}, mode="half")  # pyright: ignore


def test_exact_mode_agrees_with_float64(tmp_path: Path) -> None:
    program = affine_program()
    model = mil.load(program.save(tmp_path / "m.mlpackage"))
    x = np.random.default_rng(1).standard_normal((2, 4))
    weight = np.random.default_rng(0).standard_normal((3, 4), dtype=np.float32).astype(np.float64)
    bias = np.array([0.1, -0.2, 0.3], np.float32).astype(np.float64)
    expected = np.maximum(x @ weight.T + bias, 0)
    np.testing.assert_allclose(model.predict({"x": x}, mode="exact")["y"], expected, rtol=1e-15, atol=1e-15)


def test_a_shape_that_contradicts_its_declaration_is_refused(tmp_path: Path) -> None:
    program = Program()
    program.input("x", (2, 3))
    program.op("reshape", ("y", (3, 2), "fp32"), x=Ref("x"), shape=[6, 1])
    program.output("y")
    model = mil.load(program.save(tmp_path / "m.mlpackage"))
    with pytest.raises(
        mil.ExecutionError, match=r"reshape 'y': computed shape \(6, 1\), the program declares \(3, 2\)"
    ):
        model.predict({"x": np.zeros((2, 3))})


def test_open_dimensions_of_a_declaration_accept_any_length(tmp_path: Path) -> None:
    program = Program()
    program.input("x", (2, 3))
    program.op("reshape", ("y", (None, 2), "fp32"), x=Ref("x"), shape=[-1, 2])
    program.op("reshape", ("z", (None, 7), "fp32"), x=Ref("x"), shape=[-1, 2])
    program.output("y")
    model = mil.load(program.save(tmp_path / "m.mlpackage"))
    with pytest.raises(mil.ExecutionError, match="reshape 'z'"):
        model.predict({"x": np.zeros((2, 3))})


def test_an_operator_that_fails_is_named_in_one_line(tmp_path: Path) -> None:
    program = Program()
    program.input("x", (2, 3))
    program.op("matmul", ("y", (2, 3), "fp32"), x=Ref("x"), y=Ref("x"))
    program.output("y")
    model = mil.load(program.save(tmp_path / "m.mlpackage"))
    with pytest.raises(mil.ExecutionError, match="matmul 'y': ") as caught:
        model.predict({"x": np.zeros((2, 3))})
    assert "\n" not in str(caught.value)


def test_keeps_all_or_the_named_values(tmp_path: Path) -> None:
    model = mil.load(affine_program().save(tmp_path / "m.mlpackage"))
    x = np.random.default_rng(1).standard_normal((2, 4))
    everything = model.run({"x": x}, keep="all")
    assert list(everything.values) == ["z", "y"]
    np.testing.assert_array_equal(np.maximum(everything.values["z"], 0), everything.values["y"])
    assert list(model.run({"x": x}, keep=["z"]).values) == ["z"]
    assert model.run({"x": x}).values == {}


def test_streams_values_as_they_are_made_and_stops_behind_the_last(tmp_path: Path) -> None:
    program = Program()
    program.input("v0", (3,))
    for i in range(4):
        program.op("square", (f"v{i + 1}", (3,), "fp32"), x=Ref(f"v{i}"))
    program.op("matmul", ("v5", (3, 3), "fp32"), x=Ref("v4"), y=Ref("v4"))  # contradicts its declaration
    program.output("v5")
    model = mil.load(program.save(tmp_path / "m.mlpackage"))
    found = list(model.stream({"v0": np.array([1.0, 2.0, -1.0])}, ["v4", "v2"]))
    assert [name for name, _ in found] == ["v2", "v4"]
    np.testing.assert_array_equal(found[1][1], [1, 2.0**16, 1])
    with pytest.raises(mil.ExecutionError, match="matmul 'v5'"):
        list(model.stream({"v0": np.ones(3)}, ["v5"]))


def test_lets_go_of_tensors_after_their_last_use(tmp_path: Path) -> None:
    """A chain of 50 operators never holds more than the input and the result of one."""
    program = Program()
    program.input("v0", (1 << 20,))
    for i in range(50):
        program.op("square", (f"v{i + 1}", (1 << 20,), "fp32"), x=Ref(f"v{i}"))
    program.output("v50")
    package = open_package(program.save(tmp_path / "m.mlpackage"))
    held: dict[str, object] = {"v0": torch.ones(1 << 20)}
    largest = 0

    def watch(operation: object, variable: object, value: object) -> None:
        nonlocal largest
        largest = max(largest, len(held))

    Interpreter(package.functions["main"], arithmetic("declared")).run(held, watch)
    assert largest == 2


def test_cond_runs_the_block_that_is_asked_for(tmp_path: Path) -> None:
    program = Program()
    program.input("x", (2,))
    program.input("flag", (), "int32")
    program.op("cast", ("yes", (), "bool"), x=Ref("flag"), dtype="bool")
    branch = program.op("cond", ("y", (2,), "fp32"), pred=Ref("yes"))
    for name, operator in (("t", "square"), ("f", "exp")):
        block = branch.blocks.add()
        program.op(operator, (name, (2,), "fp32"), block=block, x=Ref("x"))
        block.outputs.append(name)
    program.output("y")
    model = mil.load(program.save(tmp_path / "m.mlpackage"))
    x = np.array([1.0, 2.0], np.float32)
    np.testing.assert_allclose(model.predict({"x": x, "flag": 1})["y"], x * x)
    np.testing.assert_allclose(model.predict({"x": x, "flag": 0})["y"], np.exp(x), rtol=1e-6)


def test_while_loop_carries_its_variables(tmp_path: Path) -> None:
    """Doubles x until it has been doubled `n` times; the block sees values from around it."""
    program = Program()
    program.input("x", (2,))
    program.input("n", (), "int32")
    zero = program.const(np.int32(0))
    loop = program.op("while_loop", [("i", (), "int32"), ("y", (2,), "fp32")], loop_vars=Ref(zero, "x"))
    condition, body = loop.blocks.add(), loop.blocks.add()
    for block, suffix in ((condition, "a"), (body, "b")):
        set_type(block.inputs.add(name=f"i_{suffix}").type, "int32", ())
        set_type(block.inputs.add(name=f"v_{suffix}").type, "fp32", (2,))
    program.op("less", ("more", (), "bool"), block=condition, x=Ref("i_a"), y=Ref("n"))
    condition.outputs.append("more")
    program.op("add", ("next_i", (), "int32"), block=body, x=Ref("i_b"), y=np.int32(1))
    program.op("add", ("next_v", (2,), "fp32"), block=body, x=Ref("v_b"), y=Ref("v_b"))
    body.outputs.extend(["next_i", "next_v"])
    program.output("y")
    model = mil.load(program.save(tmp_path / "m.mlpackage"))
    for n in (0, 1, 5):
        found = model.predict({"x": np.array([1.0, 3.0]), "n": n})["y"]
        np.testing.assert_array_equal(found, np.array([1.0, 3.0]) * 2**n)


def test_state_is_kept_between_predictions_and_apart_between_states(tmp_path: Path) -> None:
    program = Program()
    program.input("x", (2,), "fp16")
    program.state("total", (2,))
    program.op("read_state", ("before", (2,), "fp16"), input=Ref("total"))
    program.op("add", ("after", (2,), "fp16"), x=Ref("before"), y=Ref("x"))
    program.op("write_state", [], input=Ref("total"), data=Ref("after"))
    program.output("after", "fp16")
    model = mil.load(program.save(tmp_path / "m.mlpackage"))
    first, second = model.make_state(), model.make_state()
    x = np.array([1.0, 2.0], np.float16)
    for n in (1, 2, 3):
        np.testing.assert_array_equal(model.predict({"x": x}, state=first)["after"], n * x)
    np.testing.assert_array_equal(model.predict({"x": x}, state=second)["after"], x)
    np.testing.assert_array_equal(first["total"].value.numpy(), 3 * x)
    with pytest.raises(mil.InputError, match="make_state"):
        model.predict({"x": x})
    with pytest.raises(mil.InputError, match="states"):
        model.predict({"x": x}, state={})


def test_picks_one_of_several_functions(tmp_path: Path) -> None:
    program = affine_program()
    other = Program(7, "other")
    other.input("x", (2,))
    other.op("square", ("y", (2,), "fp32"), x=Ref("x"))
    other.output("y")
    program.model.mlProgram.functions["other"].CopyFrom(other.function)
    for name, source in (("main", program), ("other", other)):
        described = program.model.description.functions.add(name=name)
        described.input.extend(source.model.description.input)
        described.output.extend(source.model.description.output)
    program.model.description.defaultFunctionName = "other"
    path = program.save(tmp_path / "m.mlpackage")
    assert mil.load(path).functions == ("main", "other")
    np.testing.assert_array_equal(mil.load(path).predict({"x": np.array([3.0, 4.0])})["y"], [9, 16])
    assert mil.load(path, function="main").predict({"x": np.zeros((2, 4))})["y"].shape == (2, 3)
    with pytest.raises(mil.PackageError, match="no function 'third'; it has main, other"):
        mil.load(path, function="third")


def test_constants_among_run_time_values(tmp_path: Path) -> None:
    """concat of an input and a constant, and a function that returns a constant."""
    program = Program()
    program.input("x", (2,))
    tail = program.const(np.array([7.0, 8.0], np.float32), blob=True)
    program.op("concat", ("y", (4,), "fp32"), values=Ref("x", tail), axis=0, interleave=False)
    program.output("y")
    program.output(tail)
    model = mil.load(program.save(tmp_path / "m.mlpackage"))
    for _ in range(2):
        found = model.predict({"x": np.array([5.0, 6.0])})
        np.testing.assert_array_equal(found["y"], [5, 6, 7, 8])
        np.testing.assert_array_equal(found[tail], [7, 8])


def test_inline_values_are_bound_without_a_name(tmp_path: Path) -> None:
    program = Program()
    program.input("x", (2,))
    operation = program.op("add", ("y", (2,), "fp32"), x=Ref("x"), y=np.float32(2.5))
    stored = program.block.operations[0].attributes["val"]
    argument = operation.inputs["y"].arguments[0]
    argument.ClearField("name")
    argument.value.CopyFrom(stored)
    program.output("y")
    found = mil.load(program.save(tmp_path / "m.mlpackage")).predict({"x": np.array([1.0, 2.0])})["y"]
    np.testing.assert_array_equal(found, [3.5, 4.5])


def test_bfloat16_constants(tmp_path: Path) -> None:
    """Stored as the upper half of a float32; scalars too."""
    program = Program()
    program.input("x", (2,))
    for name, bits in (("scale", np.uint16(0x4020)), ("shift", np.array([0x3F80, 0xBF80], np.uint16))):
        raw = program.const(bits, dtype="bf16")
        program.op("cast", (name, np.shape(bits), "fp32"), x=Ref(raw), dtype="fp32")
    program.op("mul", ("m", (2,), "fp32"), x=Ref("x"), y=Ref("scale"))
    program.op("add", ("y", (2,), "fp32"), x=Ref("m"), y=Ref("shift"))
    program.output("y")
    model = mil.load(program.save(tmp_path / "m.mlpackage"))
    for mode in mil.MODES:
        assert model.predict({"x": np.array([1.0, 2.0])}, mode=mode)["y"].tolist() == [3.5, 4.0]


@pytest.mark.parametrize("type_", ["cast", "identity"])
def test_rounding_a_large_result_leaves_the_memory_that_it_shares(tmp_path: Path, type_: str) -> None:
    """A float32 value of 2 MB, passed on by an operator that copies nothing into a result declared float16."""
    inputs = {"dtype": "fp16"} if type_ == "cast" else {}
    program = Program()
    program.input("x", (512, 1024), "fp32")
    program.op("square", ("wide", (512, 1024), "fp32"), x=Ref("x"))
    program.op(type_, ("y", (512, 1024), "fp16"), x=Ref("wide"), **inputs)
    program.output("wide", "fp32")
    program.output("y", "fp16")
    x = np.random.default_rng(0).normal(size=(512, 1024)).astype(np.float32)
    found = mil.load(program.save(tmp_path / "shared.mlpackage")).predict({"x": x})
    np.testing.assert_array_equal(found["wide"], x * x)
    np.testing.assert_array_equal(found["y"], (x * x).astype(np.float16))


def test_rounding_a_large_result_rounds_it(tmp_path: Path) -> None:
    model = one_operator(tmp_path, "square", shape=(512, 1024))
    half = np.random.default_rng(0).normal(size=(512, 1024)).astype(np.float16)
    expected = (half.astype(np.float32) ** 2).astype(np.float16)
    np.testing.assert_array_equal(model.predict({"x": half.astype(np.float32)})["y"], expected)
