"""Every method as an ONNX file and as a Core ML package that compute the same.

The networks have two layers. In float32 the files have to make the very same choices.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from fuseport import mil
from fuseport.export.formats import to_coreml, to_onnx
from fuseport.export.lowering.legalize import kept_wide, legalized
from fuseport.export.request import Request
from fuseport.models.swag_vit import SwagViT
from fuseport.models.tokens.attach import attach
from fuseport.models.tokens.choose import ascending, first_of_greatest, in_decision, places, top_mask
from fuseport.validate.choices import overlap
from golden_weights import assert_close, image
from swag_golden import cases, golden_model, pictures, tiny
from test_tokens_attach import small
from test_tokens_layer import SETTINGS, every_method
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils._pytree import tree_leaves

DEPTH = 2
EXPORTED_DAILY = ("evit", "tome")
"""Methods that `test_rounded.py` puts through the whole export to both formats."""
OPTIONS = {
    **SETTINGS,
    "evit": {"keep_rate": 0.7, "drop_layers": (0, 1), "fuse": True},
    "ats": {"layers": (0, 1), "token_bound": 48},
    "act": {"q_hashes": 12, "group_k": True, "k_hashes": 5},
}


def model_of(method: str) -> SwagViT:
    return tiny(method, depth=DEPTH, choices=True, **OPTIONS[method])


@cache
def captured(method: str) -> tuple[ExportedProgram, tuple[str, ...], list[Tensor]]:
    return program_of(model_of(method), image((1, 3, 64, 64), "A"))


def program_of(model: nn.Module, x: Tensor) -> tuple[ExportedProgram, tuple[str, ...], list[Tensor]]:
    """The captured program, names for its outputs, and what the model says itself."""
    with torch.no_grad():
        expected = tree_leaves(model(x))
    names = ("logits", *(f"choices_{number}" for number in range(len(expected) - 1)))
    return torch.export.export(model, (x,), strict=False), names, expected


def onnx_answers(program: ExportedProgram, names: tuple[str, ...], x: Tensor, folder: Path) -> list[Tensor]:
    artifact = to_onnx.convert(
        program, folder / "model.onnx", Request(), {}, input_names=("image",), output_names=names, export_id="test"
    )
    answers = to_onnx.runner(artifact)({"image": x.numpy()})
    return [torch.from_numpy(np.asarray(answers[name])) for name in names]


def assert_same(answers: list[Tensor], expected: list[Tensor]) -> None:
    assert_close(answers[0], expected[0], 1e-5)
    for ours, theirs in zip(answers[1:], expected[1:], strict=True):
        assert overlap(ours.numpy(), theirs.numpy()) == 1.0


@every_method
def test_onnx_computes_the_same_and_chooses_the_same(method: str, tmp_path: Path) -> None:
    program, names, expected = captured(method)
    assert_same(onnx_answers(program, names, image((1, 3, 64, 64), "A"), tmp_path), expected)


class Choosing(nn.Module):
    """All ways to choose, on scores that come from outside, so that equal ones are equal to the last bit."""

    def forward(self, scores: Tensor) -> tuple[Tensor, ...]:
        mask = top_mask(scores, 7)
        return (scores, mask.to(torch.int32), places(mask, 7), ascending(scores), first_of_greatest(scores)[1])


def test_onnx_breaks_ties_by_the_same_rule(tmp_path: Path) -> None:
    scores = torch.randint(3, (4, 20), generator=torch.Generator().manual_seed(0)).float()
    scores[0] = 0.5
    program, names, expected = program_of(Choosing(), scores)
    answers = onnx_answers(program, names, scores, tmp_path)
    for ours, theirs in zip(answers, expected, strict=True):
        assert torch.equal(ours, theirs)


def core_ml_answers(
    program: ExportedProgram, names: tuple[str, ...], x: Tensor, folder: Path, precision: str
) -> list[Tensor]:
    artifact = to_coreml.convert(
        program,
        folder / "model.mlpackage",
        Request(precision=precision),
        {},
        input_names=("image",),
        output_names=names,
        export_id="test",
    )
    assert [output.dtype for output in artifact.outputs[1:]] == ["int32"] * (len(names) - 1)
    answers = mil.load(artifact.path).predict({"image": x.numpy()})
    return [torch.from_numpy(np.asarray(answers[name])) for name in names]


@pytest.mark.parametrize(
    "method", [pytest.param(name, marks=pytest.mark.slow if name in EXPORTED_DAILY else ()) for name in SETTINGS]
)
def test_core_ml_computes_the_same_and_chooses_the_same(method: str, tmp_path: Path) -> None:
    program, names, expected = captured(method)
    answers = core_ml_answers(program, names, image((1, 3, 64, 64), "A"), tmp_path, "float32")
    assert_same(answers, expected)


EXACT = {  # what compares whole numbers, or finds the maximum of a smoothed softmax, and so may be in half precision
    "evit": {"eq", "amax"},
    "tome": {"eq", "amax"},
    "evo": {"eq", "amax"},
    "ats": {"eq", "amax", "gt"},
    "act": {"amin"},
}


@every_method
def test_every_choice_is_marked_to_stay_in_float32(method: str) -> None:
    """Whatever sorts, compares, rounds or takes a greatest of scores does so in a Decision."""
    nodes = list(captured(method)[0].graph.nodes)
    choosing = ("topk", "sort", "floor", "eq", "gt", "lt", "le", "ge", "amax", "amin", "cumsum", "argmax", "argmin")
    found = {node: name for node in nodes if (name := str(node.target).removeprefix("aten.").split(".")[0]) in choosing}
    assert bool(found) == (method not in ("none", "hourglass"))
    assert {name for node, name in found.items() if not in_decision(node)} <= EXACT.get(method, set())
    assert any(in_decision(node) for node in nodes) == (method != "none")


@pytest.mark.parametrize("method", ["tome", pytest.param("ats", marks=pytest.mark.slow)])
def test_an_open_batch_works_where_pictures_do_not_mix(method: str) -> None:
    model = tiny(method, depth=DEPTH, **OPTIONS[method])
    shapes = ({0: torch.export.Dim("batch", min=1, max=16)},)
    program = torch.export.export(model, (image((2, 3, 64, 64), "A"),), dynamic_shapes=shapes)
    x = image((5, 3, 64, 64), "A")
    with torch.no_grad():
        assert_close(program.module()(x), model(x), 1e-6)


def test_a_method_on_timms_vit_exports_as_well(tmp_path: Path) -> None:
    x = torch.randn(1, 3, 64, 64)
    reduced = attach(small(depth=2), "evit", keep_rate=0.5, drop_layers=(0,))
    program, names, expected = program_of(reduced, x)
    assert_same(onnx_answers(program, names, x, tmp_path), expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [n for m in ("vit", "hourglass", "evit", "tome", "act", "ats", "evo", "smyrf") for n in cases(m)],
)
def test_onnx_of_every_golden_case(name: str, tmp_path: Path) -> None:
    program, names, expected = program_of(golden_model(name, choices=True), pictures(name))
    assert_same(onnx_answers(program, names, pictures(name), tmp_path), expected)


@pytest.mark.parametrize(
    "method", [pytest.param(name, marks=() if name == "smyrf" else pytest.mark.slow) for name in SETTINGS]
)
def test_core_ml_chooses_in_float32_in_half_precision(method: str, tmp_path: Path) -> None:
    program, names, expected = captured(method)
    artifact, nodes = to_coreml.convert_traced(
        program,
        tmp_path / "model.mlpackage",
        Request(precision="float16"),
        {},
        input_names=("image",),
        output_names=names,
        export_id="test",
    )
    model, wide = mil.load(artifact.path), kept_wide(legalized(program, precision="float16"))
    types = {made.name: made.type.dtype for step in model.function.block.operations for made in step.outputs}
    chosen = {str(types[tensor]) for tensor, node in nodes.items() if node in wide and tensor in types}
    assert bool(chosen) == (method != "none")
    assert not [name for name in chosen if "fp16" in name]
    assert any("fp16" in str(kind) for kind in types.values())
    answers = model.predict({"image": image((1, 3, 64, 64), "A").numpy()})
    assert all(
        overlap(np.asarray(answers[name]), theirs.numpy()) > 0.9
        for name, theirs in zip(names[1:], expected[1:], strict=True)
    )
