"""The second engine: every lowered operator agrees with the interpreter, and what cannot be lowered is said and run."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from fuseport import mil
from fuseport.mil.arithmetic import arithmetic
from fuseport.mil.interpreter import Interpreter
from fuseport.mil.ops import operator
from fuseport.mil.to_onnx.lower import LOWERINGS, lower
from mil_build import Program, Ref, affine_program, set_type

Case = tuple[str, tuple[int, ...], dict[str, Any]]

UNARY = (
    "abs",
    "atan",
    "ceil",
    "cos",
    "cosh",
    "erf",
    "exp",
    "exp2",
    "floor",
    "identity",
    "relu",
    "relu6",
    "round",
    "sigmoid",
    "sign",
    "silu",
    "sin",
    "sinh",
    "softplus",
    "softsign",
    "square",
    "tan",
    "tanh",
    "gelu",
    "cast",
)
POSITIVE = ("inverse", "log", "rsqrt", "sqrt", "acos", "asin", "atanh")
BINARY = ("add", "sub", "mul", "real_div", "pow", "maximum", "minimum", "floor_div", "mod")
COMPARE = ("equal", "not_equal", "greater", "greater_equal", "less", "less_equal")
REDUCE = (
    "sum",
    "mean",
    "max",
    "min",
    "prod",
    "l1_norm",
    "l2_norm",
    "sum_square",
    "log_sum",
    "log_sum_exp",
    "argmax",
    "argmin",
)

RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((6, 2, 3, 3), dtype=np.float32)
WIDE = RNG.standard_normal((4, 3, 3, 2), dtype=np.float32)
VECTOR = RNG.standard_normal(4).astype(np.float32)
IMAGE = (1, 4, 6, 5)

CASES: list[Case] = [
    *[(name, IMAGE, {} if name != "cast" else {"dtype": "int32"}) for name in UNARY],
    *[("gelu", IMAGE, {"mode": mode}) for mode in ("EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION")],
    *[(name, IMAGE, {}) for name in POSITIVE],
    ("rsqrt", IMAGE, {"epsilon": 0.1}),
    ("clip", IMAGE, {"alpha": -0.5, "beta": 0.25}),
    ("threshold", IMAGE, {"alpha": 0.25}),
    ("leaky_relu", IMAGE, {"alpha": 0.1}),
    ("elu", IMAGE, {"alpha": 1.5}),
    ("prelu", IMAGE, {"alpha": VECTOR}),
    ("clamped_relu", IMAGE, {"alpha": 0.1, "beta": 0.5}),
    ("linear_activation", IMAGE, {"alpha": 0.3, "beta": 0.1}),
    ("scaled_tanh", IMAGE, {"alpha": 1.7, "beta": 0.6}),
    ("sigmoid_hard", IMAGE, {"alpha": 0.2, "beta": 0.4}),
    ("thresholded_relu", IMAGE, {"alpha": 0.3}),
    ("softmax", IMAGE, {"axis": 1}),
    *[(name, IMAGE, {"y": np.abs(VECTOR)[:, None, None] + np.float32(0.5)}) for name in BINARY],
    *[(name, IMAGE, {"y": np.float32(0.25)}) for name in COMPARE],
    *[(f"reduce_{n}", IMAGE, {"axes": [1, -1], "keep_dims": k}) for n in REDUCE[:-2] for k in (True, False)],
    *[(f"reduce_{n}", IMAGE, {"axis": 1, "keep_dims": k}) for n in REDUCE[-2:] for k in (True, False)],
    *[("cumsum", IMAGE, {"axis": 2, "exclusive": e, "reverse": r}) for e in (True, False) for r in (True, False)],
    ("topk", IMAGE, {"k": 3, "axis": 2, "ascending": True}),
    ("topk", IMAGE, {"k": -1, "axis": 1}),
    ("argsort", IMAGE, {"axis": 2}),
    ("conv", IMAGE, {"weight": WEIGHT, "groups": 2}),
    ("conv", IMAGE, {"weight": WEIGHT, "groups": 2, "pad_type": "same", "strides": [2, 2], "bias": WEIGHT[:, 0, 0, 0]}),
    ("conv", IMAGE, {"weight": WEIGHT, "groups": 2, "pad_type": "same_lower", "strides": [2, 1]}),
    ("conv", IMAGE, {"weight": WEIGHT, "groups": 2, "pad_type": "custom", "pad": [1, 2, 0, 1], "dilations": [2, 1]}),
    ("conv", (1, 4, 9), {"weight": WEIGHT[:, :, 0], "groups": 2}),
    ("conv_transpose", IMAGE, {"weight": WIDE}),
    ("conv_transpose", IMAGE, {"weight": WIDE, "strides": [2, 2], "pad_type": "same", "bias": VECTOR[:3]}),
    ("conv_transpose", IMAGE, {"weight": WIDE, "strides": [2, 2], "pad_type": "custom", "pad": [1, 0, 1, 1]}),
    (
        "conv_transpose",
        IMAGE,
        {
            "weight": WIDE,
            "strides": [2, 2],
            "pad_type": "custom",
            "pad": [1, 0, 1, 1],
            "output_shape": [1, 3, 13, 10],
            "bias": VECTOR[:3],
        },
    ),
    ("max_pool", IMAGE, {"kernel_sizes": [3, 2], "strides": [2, 2], "pad_type": "custom", "pad": [1, 1, 0, 1]}),
    ("max_pool", IMAGE, {"kernel_sizes": [3, 3], "strides": [2, 2], "pad_type": "valid", "ceil_mode": True}),
    *[
        (
            "avg_pool",
            IMAGE,
            {
                "kernel_sizes": [3, 3],
                "strides": [2, 2],
                "pad_type": "custom",
                "pad": [1, 1, 0, 1],
                "ceil_mode": ceil,
                "exclude_padding_from_average": exclude,
            },
        )
        for ceil in (True, False)
        for exclude in (True, False)
    ],
    ("linear", (5, 4), {"weight": WIDE[:, :, 0, 0].T.copy(), "bias": VECTOR[:3]}),
    ("linear", (2, 5, 4), {"weight": WIDE[:, :, 0, 0].T.copy(), "bias": VECTOR[:3]}),
    ("matmul", (2, 4, 5), {"y": WEIGHT[:3, :2, :2, 0].reshape(3, 4), "transpose_x": True, "transpose_y": True}),
    ("batch_norm", IMAGE, {"mean": VECTOR, "variance": VECTOR**2, "gamma": VECTOR, "beta": VECTOR, "epsilon": 0.01}),
    ("batch_norm", IMAGE, {"mean": VECTOR, "variance": VECTOR**2}),
    ("instance_norm", IMAGE, {"gamma": VECTOR, "epsilon": 0.01}),
    ("layer_norm", (2, 5, 4), {"axes": [-1], "gamma": VECTOR, "beta": VECTOR, "epsilon": 0.01}),
    ("layer_norm", IMAGE, {"axes": [1], "gamma": VECTOR, "epsilon": 0.01}),
    ("layer_norm", IMAGE, {"axes": [2, 3]}),
    ("l2_norm", IMAGE, {"epsilon": 0.01}),
    ("reshape", IMAGE, {"shape": [0, -1, 5]}),
    ("expand_dims", (4, 6), {"axes": [0, -1]}),
    ("squeeze", (1, 4, 1, 6), {"axes": [0, 2]}),
    ("squeeze", (1, 4, 1, 6), {}),
    ("flatten2d", IMAGE, {"axis": -2}),
    ("transpose", IMAGE, {"perm": [0, -1, 2, 1]}),
    ("tile", IMAGE, {"reps": [2, 1, 3, 1]}),
    ("split", IMAGE, {"num_splits": 2, "axis": 1}),
    ("split", IMAGE, {"split_sizes": [1, 5], "axis": 2}),
    ("slice_by_index", IMAGE, {"begin": [0, 1, -2, 4], "end": [0, 3, 0, 0], "stride": [1, 1, -1, -2]}
        | {"begin_mask": [True, False, False, False], "end_mask": [True, False, False, True]}),
    ("slice_by_index", IMAGE, {"begin": [0, -1, 1, 0], "end": [1, 0, 9, 5]}
        | {"squeeze_mask": [False, True, False, False]}),
    ("slice_by_size", IMAGE, {"begin": [0, -3, 1, 0], "size": [1, 2, -1, 5]}),
    ("crop", IMAGE, {"crop_height": [1, 2], "crop_width": [0, 3]}),
    ("reverse", IMAGE, {"axes": [1, -1]}),
    ("reverse", (4, 6), {}),
    ("pad", IMAGE, {"pad": [1, 2, 0, 3], "mode": "constant", "constant_val": 0.5}),
    ("pad", IMAGE, {"pad": [1, 2, 0, 3], "mode": "reflect"}),
    ("pad", IMAGE, {"pad": [1, 2, 0, 3], "mode": "replicate"}),
    ("pixel_shuffle", IMAGE, {"upscale_factor": 2}),
    ("pixel_unshuffle", (1, 2, 6, 4), {"downscale_factor": 2}),
    ("depth_to_space", IMAGE, {"block_size": 2}),
    ("space_to_depth", (1, 2, 6, 4), {"block_size": 2}),
    ("gather", IMAGE, {"indices": [[3, -1], [0, 2]], "axis": 1}),
    ("gather_along_axis", (2, 3), {"indices": [[1, -1, 0]], "axis": 0}),
    ("gather_nd", IMAGE, {"indices": [[0, 1], [0, 3]]}),
    ("band_part", IMAGE, {"lower": 1, "upper": 0}),
    *[("upsample_bilinear", IMAGE, {"scale_factor_height": 2.5, "align_corners": a}) for a in (True, False)],
    ("upsample_bilinear", IMAGE, {"scale_factor_height": 0.5, "align_corners": False, "half_pixel_centers": False}),
    *[
        ("resize_bilinear", IMAGE, {"target_size_height": 9, "target_size_width": w, "sampling_mode": mode})
        for mode in ("DEFAULT", "ALIGN_CORNERS", "STRICT_ALIGN_CORNERS", "OFFSET_CORNERS", "UNALIGN_CORNERS")
        for w in (1, 7)
    ],
    ("upsample_nearest_neighbor", IMAGE, {"scale_factor_height": 2, "scale_factor_width": 3}),
    ("upsample_nearest_neighbor", IMAGE, {"scale_factor_height": 1.7, "scale_factor_width": 0.6}),
    ("resize_nearest_neighbor", IMAGE, {"target_size_height": 4, "target_size_width": 11}),
    ("resize", IMAGE, {"shape": [7, 0], "resized_dims": 2, "interpolation_mode": "LINEAR"}),
    ("resize", IMAGE, {"shape": [1, 8, 7, 3], "resized_dims": 3, "sampling_mode": "UNALIGN_CORNERS"}),
    ("resize", IMAGE, {"shape": [11, 3], "resized_dims": 2, "interpolation_mode": "NEAREST_NEIGHBOR"}),
]  # fmt: skip


def built(tmp_path: Path, case: Case, dtype: str = "fp32") -> mil.Model:
    """A program of the one operator of `case`, its result types found by running it undeclared."""
    type_, shape, parameters = case
    kinds = {"reduce_argmax": "int32", "reduce_argmin": "int32", "argsort": "int32", "cast": "int32"}
    kinds |= dict.fromkeys(COMPARE, "bool")
    counts = {"topk": 2, "split": 2}
    program = Program(opset=7)
    program.input("x", shape, dtype)
    outputs = [(f"y{i}", (None,) * 9, kinds.get(type_, dtype)) for i in range(counts.get(type_, 1))]
    if type_ == "topk":
        outputs[1] = ("y1", (None,) * 9, "int32")
    operation = program.op(type_, outputs, x=Ref("x"), **parameters)
    for index, (name, _, kind) in enumerate(outputs):
        del operation.outputs[index].type.tensorType.dimensions[:]
        operation.outputs[index].type.tensorType.dimensions.add().unknown.variadic = True
        program.output(name, "int32" if kind in ("bool", "int32") else dtype)
    scout = mil.load(program.save(tmp_path / "scout.mlpackage"))
    found = scout.predict({"x": given(case)})
    for index, (name, _, kind) in enumerate(outputs):
        operation.outputs[index].type.Clear()
        set_type(operation.outputs[index].type, kind, found[name].shape)
    return mil.load(program.save(tmp_path / "m.mlpackage"))


def given(case: Case) -> np.ndarray:
    """Input for `case`, within the domain of its operator."""
    x = np.random.default_rng(1).standard_normal(case[1]).astype(np.float32)
    if case[0] in (*POSITIVE, "reduce_log_sum", "pow"):
        return np.abs(x) % np.float32(0.9) + np.float32(0.05)
    return x


@pytest.mark.parametrize("case", CASES, ids=lambda c: c[0])
def test_each_operator_agrees_with_the_interpreter(tmp_path: Path, case: Case) -> None:
    model = built(tmp_path, case)
    engine = mil.accelerate(model, threads=1)
    assert engine.ran == "onnxruntime, all 1 operations"
    expected, found = (runner.predict({"x": given(case)}) for runner in (model, engine))
    assert list(expected) == list(found)
    for name, want in expected.items():
        assert found[name].dtype == want.dtype
        np.testing.assert_allclose(found[name], want, rtol=2e-6, atol=2e-6)


def test_every_lowering_is_tried() -> None:
    tried = {case[0] for case in CASES}
    elsewhere = {"select", "logical_and", "logical_or", "logical_xor", "logical_not", "concat", "stack", "einsum"}
    assert set(LOWERINGS) == tried | elsewhere | {"scaled_dot_product_attention"}


def test_lowerings_take_what_operators_take() -> None:
    for name, entry in LOWERINGS.items():
        for opset in (5, 8):
            known = operator(name, opset)
            if known is None:
                continue
            lowering = entry if callable(entry) else entry[max(first for first in entry if first <= opset)]
            assert set(inspect.signature(lowering).parameters) - {"g"} == set(known.parameters), name


def several_inputs() -> Program:
    """Operators with more than one run-time input, in one program."""
    program = Program()
    for name in ("a", "b", "c"):
        program.input(name, (2, 3, 4))
    size = (2, 3, 4)
    program.op("greater", ("ab", size, "bool"), x=Ref("a"), y=Ref("b"))
    program.op("greater", ("bc", size, "bool"), x=Ref("b"), y=Ref("c"))
    program.op("logical_and", ("and", size, "bool"), x=Ref("ab"), y=Ref("bc"))
    program.op("logical_or", ("or", size, "bool"), x=Ref("ab"), y=Ref("bc"))
    program.op("logical_xor", ("xor", size, "bool"), x=Ref("and"), y=Ref("or"))
    program.op("logical_not", ("not", size, "bool"), x=Ref("xor"))
    program.op("select", ("picked", size, "fp32"), cond=Ref("not"), a=Ref("a"), b=Ref("b"))
    program.op("stack", ("stacked", (2, 2, 3, 4), "fp32"), values=Ref("picked", "c"), axis=1)
    program.op("concat", ("joined", (2, 2, 3, 8), "fp32"), values=Ref("stacked", "stacked"), axis=-1, interleave=False)
    program.op("concat", ("mixed", (2, 4, 3, 8), "fp32"), values=Ref("joined", "joined"), axis=1, interleave=True)
    program.op("einsum", ("summed", (2, 3, 3), "fp32"), values=Ref("a", "b"), equation="nij,nkj->nik")
    program.op("scaled_dot_product_attention", ("attended", size, "fp32"), query=Ref("a"), key=Ref("b"), value=Ref("c"))
    program.op("greater", ("mask", (2, 3, 3), "bool"), x=Ref("summed"), y=np.float32(-9))
    for kind, mask in (("kept", "mask"), ("shifted", "summed")):
        inputs = {"query": Ref("a"), "key": Ref("b"), "value": Ref("c"), "attn_mask": Ref(mask)}
        program.op("scaled_dot_product_attention", (kind, size, "fp32"), **inputs)
    for name in ("mixed", "summed", "attended", "kept", "shifted"):
        program.output(name)
    return program


def test_operators_with_several_inputs(tmp_path: Path) -> None:
    model = mil.load(several_inputs().save(tmp_path / "m.mlpackage"))
    engine = mil.accelerate(model)
    assert engine.ran.startswith("onnxruntime, all")
    generator = np.random.default_rng(0)
    inputs = {name: generator.standard_normal((2, 3, 4)) for name in "abc"}
    for (name, want), found in zip(model.predict(inputs).items(), engine.predict(inputs).values(), strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6, err_msg=name)


def half_program() -> Program:
    """conv, relu, conv, gelu, batch_norm, all float16."""
    program = Program(7)
    program.input("x", IMAGE, "fp16")
    kernel = np.random.default_rng(2).standard_normal((4, 4, 3, 3)).astype(np.float16)
    weight = program.const(kernel, blob=True)
    program.op("conv", ("a", IMAGE, "fp16"), x=Ref("x"), weight=Ref(weight), pad_type="same")
    program.op("relu", ("b", IMAGE, "fp16"), x=Ref("a"))
    program.op("conv", ("c", IMAGE, "fp16"), x=Ref("b"), weight=Ref(weight), pad_type="same")
    program.op("gelu", ("d", IMAGE, "fp16"), x=Ref("c"))
    program.op("add", ("e", IMAGE, "fp16"), x=Ref("d"), y=Ref("b"))
    program.output("e", "fp16")
    return program


def test_rounds_where_the_interpreter_rounds(tmp_path: Path) -> None:
    """Nearly every element is equal bit for bit; without rounding most are not."""
    model = mil.load(half_program().save(tmp_path / "m.mlpackage"))
    x = np.random.default_rng(3).standard_normal(IMAGE)
    expected = model.predict({"x": x})["e"]
    found = mil.accelerate(model).predict({"x": x})["e"]
    assert (found == expected).mean() > 0.95
    plain = lower(Interpreter(model.function, arithmetic("declared")), rounding=False).model
    session = onnxruntime.InferenceSession(plain.SerializeToString(), providers=["CPUExecutionProvider"])
    (unrounded,) = session.run(None, {"x": x.astype(np.float32)})
    assert (unrounded == expected).mean() < 0.5


def test_rounding_moves_behind_relu_and_a_weight_is_stored_once(tmp_path: Path) -> None:
    model = mil.load(half_program().save(tmp_path / "m.mlpackage"))
    graph = lower(Interpreter(model.function, arithmetic("declared")), rounding=True).model.graph
    kinds = [node.op_type for node in graph.node]
    assert kinds == [
        "Cast",
        "Cast",
        "Conv",
        "Relu",
        "Cast",
        "Cast",
        "Conv",
        "Cast",
        "Cast",
        "Gelu",
        "Cast",
        "Cast",
        "Add",
        "Cast",
        "Cast",
    ]
    assert [tuple(t.dims) for t in graph.initializer] == [(4, 4, 3, 3)]


def test_every_value_can_be_compared(tmp_path: Path) -> None:
    model = mil.load(half_program().save(tmp_path / "m.mlpackage"))
    lowered = lower(Interpreter(model.function, arithmetic("declared")), rounding=True, keep_all=True)
    session = onnxruntime.InferenceSession(lowered.model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(3).standard_normal(IMAGE).astype(np.float32)
    kept = model.run({"x": x}, keep="all").values
    found = dict(zip(lowered.outputs, session.run(list(lowered.outputs), {"x": x}), strict=True))
    assert set(found) == set(kept) == {"a", "b", "c", "d", "e"}
    np.testing.assert_allclose(found["a"], kept["a"], rtol=1e-3, atol=1e-3)


def loop_after_square() -> Program:
    program = Program()
    program.input("x", (3,))
    program.op("square", ("s", (3,), "fp32"), x=Ref("x"))
    program.op("non_zero", ("n", (None, 1), "int32"), x=Ref("s"))
    program.op("reduce_sum", ("t", (), "fp32"), x=Ref("s"), axes=[0], keep_dims=False)
    program.output("t")
    program.output("n", "int32")
    return program


def test_what_cannot_be_lowered_runs_in_the_interpreter(tmp_path: Path) -> None:
    model = mil.load(loop_after_square().save(tmp_path / "m.mlpackage"))
    engine = mil.accelerate(model)
    assert engine.ran == "onnxruntime, 1 operations; interpreter, 2 (non_zero 'n': no ONNX form)"
    found = engine.predict({"x": [1.0, 0.0, 3.0]})
    assert found["n"].tolist() == [[0], [2]]
    assert float(found["t"]) == 10.0


def test_open_shapes_run_in_the_interpreter(tmp_path: Path) -> None:
    program = Program()
    program.input("x", (None, 3))
    program.op("square", ("y", (None, 3), "fp32"), x=Ref("x"))
    program.output("y")
    array = program.model.description.input[0].type.multiArrayType
    for _ in range(2):
        array.shapeRange.sizeRanges.add(lowerBound=1, upperBound=3)
    engine = mil.accelerate(mil.load(program.save(tmp_path / "m.mlpackage")))
    assert engine.ran == "interpreter, all 1 operations (the shape of 'x' is open)"
    assert engine.predict({"x": np.ones((2, 3))})["y"].shape == (2, 3)


def test_shape_arithmetic_is_evaluated(tmp_path: Path) -> None:
    """reshape to a shape that the program computes from the shape of its input."""
    program = Program()
    program.input("x", (2, 6))
    program.op("shape", ("s", (2,), "int32"), x=Ref("x"))
    program.op("reverse", ("r", (2,), "int32"), x=Ref("s"), axes=[0])
    program.op("reshape", ("y", (6, 2), "fp32"), x=Ref("x"), shape=Ref("r"))
    program.output("y")
    model = mil.load(program.save(tmp_path / "m.mlpackage"))
    graph = lower(Interpreter(model.function, arithmetic("declared")), rounding=True).model.graph
    assert [node.op_type for node in graph.node] == ["Reshape"]
    x = np.arange(12.0).reshape(2, 6)
    np.testing.assert_array_equal(mil.accelerate(model).predict({"x": x})["y"], x.reshape(6, 2))


def test_converts_a_file(tmp_path: Path) -> None:
    model = mil.load(affine_program().save(tmp_path / "m.mlpackage"))
    path = mil.save_onnx(model, tmp_path / "m.onnx")
    loaded = onnx.load(path)
    onnx.checker.check_model(loaded, full_check=True)
    assert [node.op_type for node in loaded.graph.node] == ["Gemm", "Relu"]
    assert {p.key: p.value for p in loaded.metadata_props} == {"source": "m.mlpackage", "function": "main"}
    x = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    (found,) = onnxruntime.InferenceSession(str(path)).run(["y"], {"x": x})
    np.testing.assert_allclose(found, model.predict({"x": x})["y"], rtol=1e-6)


def test_converts_a_classifier_with_its_labels(tmp_path: Path) -> None:
    program = Program()
    program.input("x", (1, 3))
    program.op("softmax", ("p", (1, 3), "fp32"), x=Ref("x"), axis=-1)
    operation = program.op("classify", [], probabilities=Ref("p"), classes=["cat", "dog", "cow"])
    operation.outputs.add(name="label").type.tensorType.dataType = 2
    operation.outputs.add(name="scores").type.dictionaryType.SetInParent()
    program.block.outputs.extend(["label", "scores"])
    program.model.description.output.add(name="label").type.stringType.SetInParent()
    program.model.description.output.add(name="scores").type.dictionaryType.stringKeyType.SetInParent()
    model = mil.load(program.save(tmp_path / "m.mlpackage"))
    assert mil.accelerate(model).predict({"x": [[1.0, 3.0, 2.0]]})["label"] == "dog"
    loaded = onnx.load(mil.save_onnx(model, tmp_path / "m.onnx"))
    assert [o.name for o in loaded.graph.output] == ["p"]
    assert {p.key: p.value for p in loaded.metadata_props}["labels"] == "cat\ndog\ncow"


def test_refuses_to_convert_half_a_program(tmp_path: Path) -> None:
    model = mil.load(loop_after_square().save(tmp_path / "m.mlpackage"))
    with pytest.raises(mil.UnsupportedOperator, match="cannot convert to ONNX: non_zero 'n': no ONNX form"):
        mil.save_onnx(model, tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


def test_refuses_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    model = mil.load(affine_program().save(tmp_path / "m.mlpackage"))
    with pytest.raises(mil.MilError, match="cannot write"):
        mil.save_onnx(model, tmp_path / "none" / "m.onnx")
