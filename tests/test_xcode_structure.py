"""Operations out of a model structure: order, blocks, states, and shapes of which no public report exists."""

from __future__ import annotations

from typing import Any

import pytest
from fuseport.validate.xcode import ReportError
from fuseport.validate.xcode.structure import MAX_DEPTH, read_structure
from xcode_samples import MAC, dispatched, phone, read

ANE, CPU = {"deviceType": {"neuralEngine": {}}}, {"deviceType": {"cpu": {}}}


def operation(name: str, **parts: Any) -> dict[str, Any]:
    usage = {"preferred": CPU, "supported": [CPU]}
    return {
        "operatorName": "ios17.add",
        "outputs": [{"name": name}],
        "deviceUsage": usage,
        "cost": {"weight": 0.5},
    } | parts


def program(*operations: Any) -> dict[str, Any]:
    return {"program": {"_0": {"functions": {"main": {"block": {"operations": list(operations)}}}}}}


def test_constants_are_counted_and_left_out() -> None:
    constant = {"operatorName": "ios18.constexpr_lut_to_dense", "outputs": [{"name": "w"}]}
    found = read_structure(program(constant, operation("y")))
    assert (found.listed, [op.name for op in found.operations]) == (2, ["y"])


@pytest.mark.parametrize(("operator", "kind", "opset"), [
    ("ios17.conv", "conv", "ios17"),
    ("split", "split", None),
    ("ios16.reduce_mean", "reduce_mean", "ios16"),
])  # fmt: skip
def test_the_opset_is_no_part_of_the_type(operator: str, kind: str, opset: str | None) -> None:
    (found,) = read_structure(program(operation("y", operatorName=operator))).operations
    assert (found.type, found.opset) == (kind, opset)


def test_operations_in_blocks_follow_their_owner() -> None:
    inner = {"operations": [operation("inner")]}
    found = read_structure(program(operation("a"), operation("cond", blocks=[inner, {}]), operation("b")))
    assert [(op.name, op.block) for op in found.operations] == [
        ("a", ""),
        ("cond", ""),
        ("inner", "cond[0]"),
        ("b", ""),
    ]


def test_the_nested_block_of_the_sample() -> None:
    report = read(MAC.read_bytes())
    assert [(op.name, op.block) for op in report.operations if op.block] == [("inner_mul_cast_fp16", "scaled[0]")]


def test_states_are_pairs_and_other_keys_are_reasons() -> None:
    states = [
        ANE,
        {"unsupported": {"reason": "rank 6"}},
        CPU,
        {"supported": {}},
        {"deviceType": {"npu": {}}},
        {"no": {}},
    ]
    usage = {"preferred": CPU, "supported": [CPU], "allSupportStates": states}
    (found,) = read_structure(program(operation("y", deviceUsage=usage))).operations
    assert found.refusals == (("ane", 'unsupported: {"reason": "rank 6"}'), ("npu", "no"))
    assert (found.unit, found.eligible) == ("cpu", ("cpu",))


def test_a_supported_unit_is_not_refused_whatever_its_state_says() -> None:
    usage = {"preferred": CPU, "supported": [CPU, ANE], "allSupportStates": [ANE, {"partly": {}}]}
    (found,) = read_structure(program(operation("y", deviceUsage=usage))).operations
    assert (found.eligible, found.refusals) == (("cpu", "ane"), ())


def test_states_of_odd_length_are_said() -> None:
    usage = {"preferred": CPU, "allSupportStates": [ANE, {"supported": {}}, CPU]}
    assert "allSupportStates of odd length" in read_structure(program(operation("y", deviceUsage=usage))).oddities


def test_a_unit_with_several_names_is_no_unit() -> None:
    usage = {"preferred": {"deviceType": {"cpu": {}, "gpu": {}}}}
    found = read_structure(program(operation("y", deviceUsage=usage)))
    assert found.operations[0].unit is None
    assert found.oddities


def test_the_weight_parameter_is_kept_for_the_join() -> None:
    parameters = {op.name: op.parameter for op in read(phone()).operations}
    assert parameters["input_3_cast_fp16"] == "blocks_0_dw_weight_to_fp16"
    assert parameters["input_cast_fp16"] == "norm_weight_to_fp16"  # the gamma of a layer norm
    assert parameters["probs"] is None


def test_layers_of_a_neural_network() -> None:
    layer = {"name": "conv1", "type": "convolution", "outputNames": ["c"], "cost": {"weight": 1.0}}
    found = read_structure({"neuralNetwork": {"_0": {"layers": [layer, {"name": "flat", "type": "flatten"}]}}})
    assert (found.listed, [(op.name, op.type) for op in found.operations]) == (2, [("conv1", "convolution")])
    assert "no report of this kind is public" in found.oddities[0]


def test_models_of_a_pipeline() -> None:
    found = read_structure({"pipeline": {"_0": {"subModels": [program(operation("a")), program(operation("b"))]}}})
    assert [(op.function, op.name) for op in found.operations] == [("model 0 main", "a"), ("model 1 main", "b")]


def test_an_unknown_kind_is_said() -> None:
    found = read_structure({"aimodel": {"_0": {}}})
    assert found.oddities == ["modelStructure of the kind aimodel"]


@pytest.mark.parametrize("kind", ["blocks", "pipelines"])
def test_nesting_is_bounded(kind: str) -> None:
    nested: dict[str, Any] = program(operation("y"))
    if kind == "pipelines":
        for _ in range(MAX_DEPTH + 2):
            nested = {"pipeline": {"_0": {"subModels": [nested]}}}
    else:
        block: dict[str, Any] = {"operations": []}
        for _ in range(MAX_DEPTH + 2):
            block = {"operations": [{"operatorName": "cond", "outputs": [{"name": "c"}], "blocks": [block]}]}
        nested["program"]["_0"]["functions"]["main"]["block"] = block
    with pytest.raises(ReportError, match=f"nested more than {MAX_DEPTH} deep"):
        read_structure(nested)


@pytest.mark.parametrize("change", [
    {"cost": {"weight": "much"}},
    {"cost": {"weight": -0.1}},
    {"cost": []},
    {"deviceUsage": "cpu"},
    {"outputs": "y"},
    {"outputs": [{"name": 3}]},
    {"operatorName": None},
])  # fmt: skip
def test_wrong_types_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ReportError, match=r"main\.operations\[0\]"):
        read_structure(program(operation("y", **change)))


def test_an_operation_without_device_usage_has_no_unit() -> None:
    document = phone()
    for op in dispatched(document):
        del op["deviceUsage"]
    report = read(document)
    assert {op.unit for op in report.operations} == {None}
    assert len(report.operations) == 15
