"""Operators of an optimised graph find the module of the node that they are, not of one that was merged into them."""

from pathlib import Path

import onnx
import pytest
from fuseport.export.profile.origins import Origins, origins_in
from onnx import TensorProto, helper
from profile_samples import small_onnx


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Origins:
    return origins_in(small_onnx(tmp_path_factory.mktemp("origins")))


@pytest.mark.parametrize(
    ("names", "kind", "module"),
    [
        (("conv",), "Conv", "stem.conv"),
        (("c",), "Conv", "stem.conv"),
        (("r_nchwc", "r"), "Conv", "stem.conv"),
        (("act",), "Relu", "stem.act"),
        (("logits",), "FusedGemm", "head"),
        (("f",), "Unheard", "pool"),
        (("ReorderInput_token_1",), "ReorderInput", None),
    ],
)
def test_the_nearest_node_of_the_operator_s_own_type_counts(known: Origins, names, kind, module):
    assert known.module_of(names, kind) == module


def test_what_is_too_far_back_is_not_taken_and_a_ring_ends():
    nodes = [helper.make_node("Relu", [f"x{i}"], [f"x{i + 1}"], name=f"n{i}") for i in range(8)]
    nodes[0].op_type = "Conv"
    loop = helper.make_node("Add", ["loop", "x8"], ["loop"], name="loop")
    makers = {name: node for node in (*nodes, loop) for name in (node.name, *node.output)}
    far = Origins(makers, {"n0": "conv", "n7": "relu", "n3": "near", "loop": "loop"})
    assert far.module_of(["n7"], "Conv") == "relu"
    assert far.module_of(["n3"], "Conv") == "conv"
    assert far.module_of(["loop"], "Conv") == "loop"


def test_a_file_without_notes_knows_no_module(tmp_path: Path):
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"], name="n")], "g", value[:1], value[1:])
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    found = origins_in(tmp_path / "m.onnx")
    assert found.modules == {}
    assert found.module_of(["n"], "Relu") is None
