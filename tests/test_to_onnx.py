"""ONNX files: what they compute, what they say, and what is refused."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir
import onnxsim
import pytest
import torch
from fuseport.export.artifact import Artifact, NotConverted, TensorSpec, sha256_on_disk
from fuseport.export.atomic import NotWritten
from fuseport.export.formats import to_onnx
from fuseport.export.formats.onnx_simplified import simplified
from fuseport.export.request import BatchRange, ImageInput, Request
from programs import NAMES, Net, TwoInTwoOut, captured, net
from torch import Tensor, nn

MEAN = (0.485, 0.456, 0.406)


def convert(folder: Path, request: Request | None = None, program: Any = None, **changes: Any) -> Artifact:
    request = request or Request()
    made = program or net(open_batch=request.batch is not None)
    return to_onnx.convert(made, folder / "net.onnx", request, {"author": "someone"}, **{**NAMES, **changes})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The net converted with default options; tests that only look at it share it."""
    return convert(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def unsimplified(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return convert(tmp_path_factory.mktemp("unsimplified"), Request(simplify=False))


@pytest.fixture(params=["made", "unsimplified"])
def either(request: pytest.FixtureRequest) -> Artifact:
    return request.getfixturevalue(request.param)


def pictures(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def assert_computes(artifact: Artifact, module: nn.Module, *inputs: Tensor) -> None:
    """The saved file gives what the module gives, to the last bits of float32."""
    feeds = {spec.name: value.numpy() for spec, value in zip(artifact.inputs, inputs, strict=True)}
    given = to_onnx.runner(artifact)(feeds)
    with torch.no_grad():
        expected = module.eval()(*inputs)
    for spec, value in zip(artifact.outputs, expected if isinstance(expected, tuple) else (expected,), strict=True):
        np.testing.assert_allclose(given[spec.name], value.numpy(), rtol=1e-5, atol=1e-6)


def test_the_saved_file_computes_the_same(either: Artifact) -> None:
    assert_computes(either, Net(), torch.randn(1, 3, 8, 8))


def test_the_runner_can_tell_a_wrong_file(made: Artifact, tmp_path: Path) -> None:
    artifact = replace(made, path=tmp_path / "wrong.onnx")
    model = onnx.load(made.path)
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "head.bias")
    bias.CopyFrom(onnx.numpy_helper.from_array(2 * onnx.numpy_helper.to_array(bias), bias.name))
    onnx.save(model, artifact.path)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_computes(artifact, Net(), torch.randn(1, 3, 8, 8))


def test_the_artifact_says_what_lies_on_the_disk(made: Artifact) -> None:
    artifact, model = made, onnx.load(made.path)
    assert artifact.format == "onnx"
    assert artifact.precision == "float32"
    assert artifact.bytes == artifact.path.stat().st_size
    assert artifact.sha256 == sha256_on_disk(artifact.path)
    assert artifact.operation_count == len(model.graph.node)
    assert artifact.inputs == (TensorSpec("image", (1, 3, 8, 8), "float32"),)
    assert artifact.outputs == (TensorSpec("logits", (1, 5), "float32"),)
    assert artifact.details["opset"] == model.opset_import[0].version == to_onnx.DEFAULT_OPSET
    assert artifact.details["simplification"] == "done"
    assert set(artifact.versions) == {"torch", "onnx", "onnxruntime", "onnxscript", "onnxsim"}


def test_gelu_is_one_node(tmp_path: Path) -> None:
    """The reason for the default opset."""
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.GELU())
    artifact = convert(tmp_path, program=captured(module, torch.randn(1, 3, 8, 8)))
    assert artifact.operations == {"Conv": 1, "Gelu": 1}
    assert_computes(artifact, module, torch.randn(1, 3, 8, 8))


def test_several_inputs_and_outputs(tmp_path: Path) -> None:
    inputs = (torch.randn(1, 3, 8, 8), torch.randn(1, 5))
    program = captured(TwoInTwoOut(), *inputs)
    names = {"input_names": ("image", "offset"), "output_names": ("logits", "features")}
    artifact = convert(tmp_path, program=program, **names)
    assert [spec.name for spec in (*artifact.inputs, *artifact.outputs)] == ["image", "offset", "logits", "features"]
    assert_computes(artifact, TwoInTwoOut(), *inputs)


def test_an_open_batch_is_named_and_works(tmp_path: Path) -> None:
    artifact = convert(tmp_path, Request(batch=BatchRange(1, 8)))
    assert artifact.inputs[0].shape == ("batch", 3, 8, 8)
    assert artifact.outputs[0].shape == ("batch", 5)
    for batch in (1, 5):
        assert_computes(artifact, Net(), torch.randn(batch, 3, 8, 8))


FORMATS_SINCE = {18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11}
"""The ONNX release that brought an opset, by the version of the file format (IR) that it brought along."""


@pytest.mark.parametrize(
    "opset",
    [opset if opset in (18, 20, 23) else pytest.param(opset, marks=pytest.mark.slow) for opset in to_onnx.OPSETS],
)
def test_every_supported_opset(tmp_path: Path, opset: int) -> None:
    artifact = convert(tmp_path, Request(opset=opset))
    model = onnx.load(artifact.path)
    (imported,) = model.opset_import
    assert (imported.domain, imported.version) == ("", opset)
    assert model.ir_version == artifact.details["ir_version"] == FORMATS_SINCE[opset]
    assert_computes(artifact, Net(), torch.randn(1, 3, 8, 8))


@pytest.mark.parametrize(("layout", "batch"), [("nhwc", None), ("nchw", BatchRange())])
def test_picture_input(tmp_path: Path, layout: str, batch: BatchRange | None) -> None:
    """uint8 in, x / 255 - mean before the network, which pads with zeros: exact at the borders too."""
    artifact = convert(tmp_path, Request(batch=batch, image_input=ImageInput(MEAN, (1, 1, 1), layout=layout)))
    size = (8, 8, 3) if layout == "nhwc" else (3, 8, 8)
    assert artifact.inputs == (TensorSpec("image", ("batch" if batch else 1, *size), "uint8", "image"),)
    given = pictures(3 if batch else 1, *size)
    nchw = torch.from_numpy(given.transpose(0, 3, 1, 2) if layout == "nhwc" else given).contiguous()
    with torch.no_grad():
        expected = Net()(nchw / 255 - torch.tensor(MEAN).reshape(3, 1, 1))
    np.testing.assert_allclose(to_onnx.runner(artifact)({"image": given})["logits"], expected, rtol=1e-5, atol=1e-6)
    assert_every_tensor_has_a_shape(artifact)


def test_a_picture_input_needs_one_input_with_the_right_channels(tmp_path: Path) -> None:
    with pytest.raises(NotConverted, match=r"a picture input needs one input of shape \(N, 4, H, W\)"):
        convert(tmp_path, Request(image_input=ImageInput((0.5,) * 4, (1,) * 4)))
    assert list(tmp_path.iterdir()) == []


def assert_every_tensor_has_a_shape(artifact: Artifact) -> None:
    """Delegates and graph viewers read them from value_info."""
    graph = onnx.load(artifact.path).graph
    known = {value.name for value in (*graph.value_info, *graph.output) if value.type.tensor_type.shape.dim}
    assert {name for node in graph.node for name in node.output} <= known


def test_every_tensor_has_a_shape(either: Artifact) -> None:
    assert_every_tensor_has_a_shape(either)


def test_metadata_and_labels(tmp_path: Path) -> None:
    labels = ("ant", "bee", "crane", "dog", "éléphant")
    artifact = convert(tmp_path, Request(labels=labels))
    written = {entry.key: entry.value for entry in onnx.load(artifact.path).metadata_props}
    assert written.pop("labels") == json.dumps(labels, ensure_ascii=False)
    assert written == {"author": "someone", "fuseport.export_id": NAMES["export_id"]}


def test_nothing_of_this_machine_is_in_the_file(either: Artifact) -> None:
    """torch's exporter notes stack traces, with the paths of the source files, at every node."""
    content = either.path.read_bytes()
    for forbidden in (b"stack_trace", b"File ", b".py", str(Path(__file__).parent).encode(), b"site-packages"):
        assert forbidden not in content


def test_nodes_name_the_module_they_came_from(either: Artifact) -> None:
    modules = either.modules
    assert {"stem", "norm", "head"} <= set(modules.values())
    noted = {
        node.output[0]: entry.value
        for node in onnx.load(either.path).graph.node
        for entry in node.metadata_props
        if entry.key == to_onnx.MODULE
    }
    assert noted == modules


class Halves(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        first, second = x.split([1, 2], 1)
        return first.exp() * second


def test_a_split_names_its_module(tmp_path: Path) -> None:
    """torch makes it of one call for the parts and one for each of them, and notes nothing at it."""
    module = nn.Sequential(nn.Conv2d(3, 3, 1), Halves())
    program = captured(module, torch.randn(1, 3, 8, 8))
    modules = convert(tmp_path, program=program, input_names=("x",), output_names=("y",)).modules
    nodes = onnx.load(tmp_path / "net.onnx").graph.node
    (split,) = [node for node in nodes if node.op_type == "Split"]
    assert modules[split.output[0]] == "1"


def test_without_module_calls_a_node_is_named_by_its_weight(tmp_path: Path) -> None:
    """A rewritten graph has no module calls left; its weights keep their names."""
    with torch.no_grad():
        flat = torch.export.export(net().module(), (torch.zeros(1, 3, 8, 8),))
    modules = convert(tmp_path, program=flat).modules
    assert {"stem", "head"} <= set(modules.values())


def test_external_data_on_request(tmp_path: Path) -> None:
    module = nn.Conv2d(3, 8, 3).eval()
    program, image = captured(module, torch.zeros(1, 3, 8, 8)), torch.randn(1, 3, 8, 8)
    artifact = convert(tmp_path, Request(external_data=True), program)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.onnx", "net.onnx.data"]
    assert artifact.details["external_data"] == ["net.onnx.data"]
    assert artifact.bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    locations = {
        entry.value
        for tensor in onnx.load(artifact.path, load_external_data=False).graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    assert locations == {"net.onnx.data"}
    assert_computes(artifact, module, image)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for path in (tmp_path / "net.onnx", tmp_path / "net.onnx.data"):
        path.rename(moved / path.name)
    assert_computes(replace(artifact, path=moved / "net.onnx"), module, image)


def test_weights_too_heavy_for_one_file_go_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(to_onnx, "SINGLE_FILE_BYTES", 500)
    artifact = convert(tmp_path)
    assert artifact.details["external_data"] == ["net.onnx.data"]
    assert artifact.details["simplification"] == "done, without the weights"
    assert_computes(artifact, Net(), torch.randn(1, 3, 8, 8))


def broken(model: onnx.ModelProto) -> tuple[onnx.ModelProto, bool]:
    raise RuntimeError("no such pass\nand more")


def renaming(model: onnx.ModelProto) -> tuple[onnx.ModelProto, bool]:
    model.graph.input[0].name = model.graph.node[0].input[0] = "renamed"
    return model, True


def newer(model: onnx.ModelProto) -> tuple[onnx.ModelProto, bool]:
    model.opset_import[0].version += 1
    return model, True


@pytest.mark.parametrize(
    ("simplify", "reason"),
    [
        (broken, "left out: onnxsim failed: no such pass"),
        (renaming, "left out: onnxsim changed the opset, the inputs or the outputs"),
        (newer, "left out: onnxsim changed the opset, the inputs or the outputs"),
    ],
)
def test_a_simplification_that_goes_wrong_is_left_out(
    unsimplified: Artifact, monkeypatch: pytest.MonkeyPatch, simplify: Any, reason: str
) -> None:
    model = onnx_ir.load(unsimplified.path)
    monkeypatch.setattr(onnxsim, "simplify", simplify)
    assert simplified(model, apart=False) == (model, reason)


def test_the_same_bytes_again(made: Artifact, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    program = net()
    before = str(program)
    again = convert(tmp_path, program=program)
    assert again.path.read_bytes() == made.path.read_bytes()
    assert again.sha256 == made.sha256
    assert str(program) == before
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("opset", [7, 17, 24])
def test_an_opset_out_of_reach_is_refused(opset: int) -> None:
    known = "18, 19, 20, 21, 22, 23"
    with pytest.raises(NotConverted, match=f"^ONNX opset {opset} is not supported; supported: {known}$"):
        to_onnx.check(Request(opset=opset))


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(to_onnx, "find_spec", lambda name: None if name == "onnxsim" else object())
    with pytest.raises(NotConverted) as caught:
        to_onnx.check(Request())
    assert str(caught.value) == 'ONNX needs onnxsim, not installed here; pip install "fuseport[onnx]"'


TOLD = r"torch cannot write this model as ONNX at special_bessel_j0 of the model \(tests/test_to_onnx.py:\d+\): No "


def test_what_torch_cannot_translate_is_said_in_one_line(tmp_path: Path) -> None:
    class Unknown(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.special.bessel_j0(x)

    (tmp_path / "net.onnx").write_text("from before")
    with pytest.raises(NotConverted, match=TOLD) as caught:
        convert(tmp_path, program=captured(Unknown(), torch.zeros(1, 3, 8, 8)))
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
    assert (tmp_path / "net.onnx").read_text() == "from before"


def test_what_the_checker_refuses_is_not_put_in_place(
    made: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str, *, full_check: bool) -> None:
        assert full_check
        raise onnx.checker.ValidationError("no opset import\nContext: none")

    target = tmp_path / "net.onnx"
    target.write_text("from before")
    monkeypatch.setattr(onnx.checker, "check_model", refuse)
    with pytest.raises(NotConverted, match=r"^the ONNX checker refuses what torch wrote: no opset import$"):
        to_onnx._write(onnx_ir.load(made.path), target, external=False)
    assert target.read_text() == "from before"


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_full_disk_or_ctrl_c_leaves_the_old_file(
    made: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def save(model: Any, path: Path, **options: Any) -> None:
        path.write_bytes(b"half of it")
        raise error

    target = tmp_path / "net.onnx"
    target.write_text("from before")
    model = onnx_ir.load(made.path)
    monkeypatch.setattr(onnx_ir, "save", save)
    with pytest.raises((NotWritten, KeyboardInterrupt)):
        to_onnx._write(model, target, external=False)
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
    assert target.read_text() == "from before"
