"""Core ML packages: what they compute, what they say, and what is refused.

The saved packages are run by our own executor, exactly (float64, nothing rounded) where the arithmetic is the question.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import coremltools
import numpy as np
import pytest
import torch
from fuseport import mil
from fuseport.export.artifact import Artifact, NotConverted, NotRun, TensorSpec, files_of, sha256_on_disk
from fuseport.export.atomic import NotWritten
from fuseport.export.formats import to_coreml, to_onnx
from fuseport.export.request import BatchRange, ImageInput, Request
from programs import METADATA, NAMES, Net, TwoInTwoOut, captured, net
from torch import Tensor, nn

MEAN = (0.485, 0.456, 0.406)
LABELS = ("ant", "bee", "crane", "dog", "éléphant")
FLOAT32 = Request(precision="float32")


def convert(folder: Path, request: Request | None = None, program: Any = None, **changes: Any) -> Artifact:
    request = request or Request()
    made = program or net(open_batch=request.batch is not None)
    return to_coreml.convert(made, folder / "net.mlpackage", request, METADATA, **{**NAMES, **changes})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The net converted with default options; tests that only look at it share it."""
    return convert(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return convert(tmp_path_factory.mktemp("exact"), FLOAT32)


def spec_of(artifact: Artifact) -> Any:
    return coremltools.utils.load_spec(str(artifact.path))


def operations(artifact: Artifact) -> list[Any]:
    (block,) = spec_of(artifact).mlProgram.functions["main"].block_specializations.values()
    return list(block.operations)


def image(batch: int = 1) -> Tensor:
    return torch.randn(batch, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def assert_computes(artifact: Artifact, module: nn.Module, *inputs: Tensor) -> None:
    """Without rounding the package gives what the module gives in float64, to the last bits of its float32 weights."""
    feeds = {spec.name: value.numpy() for spec, value in zip(artifact.inputs, inputs, strict=True)}
    given = mil.load(artifact.path).predict(feeds, mode="exact")
    with torch.no_grad():
        expected = module.double()(*(value.double() for value in inputs))
    for spec, value in zip(artifact.outputs, expected if isinstance(expected, tuple) else (expected,), strict=True):
        np.testing.assert_allclose(given[spec.name], value.numpy(), rtol=1e-6, atol=1e-6)


def test_a_float32_package_is_the_model(exact: Artifact) -> None:
    assert_computes(exact, Net(), image())
    assert exact.precision == "float32"
    assert (exact.inputs[0].dtype, exact.outputs[0].dtype) == ("float32", "float32")


def test_the_comparison_can_say_no(exact: Artifact) -> None:
    module = Net()
    module.head.weight.data *= 1.0001
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_computes(exact, module, image())


def test_a_float16_package_rounds_and_no_more(made: Artifact) -> None:
    given = mil.load(made.path).predict({"image": image().numpy()})["logits"]
    with torch.no_grad():
        np.testing.assert_allclose(given.astype(np.float32), Net()(image()).numpy(), rtol=1e-2, atol=1e-2)
    assert made.precision == "float16"
    assert given.dtype == np.float16


def test_the_artifact_says_what_lies_on_the_disk(made: Artifact) -> None:
    assert made.format == "coreml"
    assert made.bytes == sum(path.stat().st_size for path in files_of(made.path))
    assert made.sha256 == sha256_on_disk(made.path)
    assert made.operation_count == len([made for made in operations(made) if made.type != "const"])
    assert made.inputs == (TensorSpec("image", (1, 3, 8, 8), "float16"),)
    assert made.outputs == (TensorSpec("logits", (1, 5), "float16"),)
    assert made.details == {"deployment_target": "iOS16", "specification_version": 7}
    assert set(made.versions) == {"torch", "coremltools"}


def test_the_description_has_the_metadata_and_no_date(made: Artifact) -> None:
    written = spec_of(made).description.metadata
    assert (written.author, written.shortDescription, written.license) == ("someone", "a net", "Apache-2.0")
    assert written.versionString == "1.2"
    assert written.userDefined["weights"] == "random"
    assert written.userDefined["fuseport.export_id"] == NAMES["export_id"]
    assert not [key for key in written.userDefined if "date" in key]


def test_operations_name_the_module_they_came_from(made: Artifact) -> None:
    assert {"stem", "norm", "head"} == set(made.modules.values())
    assert set(made.modules) <= {value.name for operation in operations(made) for value in operation.outputs}


@pytest.mark.parametrize(
    ("target", "version", "dtype"), [("iOS15", 6, "float32"), ("iOS17", 8, "float16"), ("macOS15", 9, "float16")]
)
def test_deployment_targets(tmp_path: Path, target: str, version: int, dtype: str) -> None:
    """Below iOS16 a float16 program takes and gives float32."""
    artifact = convert(tmp_path, Request(deployment_target=target))
    assert spec_of(artifact).specificationVersion == artifact.details["specification_version"] == version
    assert (artifact.inputs[0].dtype, artifact.outputs[0].dtype) == (dtype, dtype)


def test_every_target_is_one_of_coremltools() -> None:
    known = set(coremltools.target.__members__)
    assert set(to_coreml.TARGETS) <= known


def test_several_inputs_and_outputs(tmp_path: Path) -> None:
    inputs = (image(), torch.randn(1, 5))
    names = {"input_names": ("image", "offset"), "output_names": ("logits", "features")}
    artifact = convert(tmp_path, FLOAT32, captured(TwoInTwoOut(), *inputs), **names)
    assert [spec.name for spec in (*artifact.inputs, *artifact.outputs)] == ["image", "offset", "logits", "features"]
    assert_computes(artifact, TwoInTwoOut(), *inputs)


def test_integers_stay_integers(tmp_path: Path) -> None:
    """By default coremltools makes float16 of every input."""

    class Pick(nn.Module):
        def forward(self, x: Tensor, at: Tensor) -> Tensor:
            return x.index_select(1, at)

    program = captured(Pick(), torch.rand(2, 3), torch.tensor([1, 2]))
    artifact = convert(tmp_path, program=program, input_names=("x", "at"))
    assert [spec.dtype for spec in artifact.inputs] == ["float16", "int32"]


def test_an_open_batch_has_its_range_and_works(tmp_path: Path) -> None:
    artifact = convert(tmp_path, Request(precision="float32", batch=BatchRange(2, 6)))
    assert artifact.inputs[0].shape == ("batch", 3, 8, 8)
    assert artifact.outputs[0].shape == ("batch", 5)
    array = spec_of(artifact).description.input[0].type.multiArrayType
    assert list(array.shape) == [2, 3, 8, 8]
    sizes = [(size.lowerBound, size.upperBound) for size in array.shapeRange.sizeRanges]
    assert sizes == [(2, 6), (3, 3), (8, 8), (8, 8)]
    for batch in (2, 5):
        assert_computes(artifact, Net(), image(batch))


@pytest.mark.parametrize("target", ["iOS15", "iOS16"])
def test_picture_input(tmp_path: Path, target: str) -> None:
    """An RGB picture in, x / 255 - mean before the network, which pads with zeros: exact at the borders too."""
    picture = ImageInput(MEAN, (1, 1, 1))
    artifact = convert(tmp_path, Request(precision="float32", deployment_target=target, image_input=picture))
    assert artifact.inputs == (TensorSpec("image", (1, 8, 8, 3), "uint8", "image"),)
    described = spec_of(artifact).description.input[0].type.imageType
    assert (described.width, described.height) == (8, 8)
    assert described.colorSpace == described.ColorSpace.Value("RGB")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    given = mil.load(artifact.path).predict({"image": pixels[0]}, mode="exact")["logits"]
    x = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()).double() / 255
    with torch.no_grad():
        expected = Net().double()(x - torch.tensor(MEAN).double().reshape(3, 1, 1))
    np.testing.assert_allclose(given, expected.numpy(), rtol=1e-5, atol=1e-6)


def test_class_labels_come_before_the_logits(tmp_path: Path) -> None:
    artifact = convert(tmp_path, Request(precision="float32", labels=LABELS))
    assert artifact.outputs == (
        TensorSpec("classLabel", (), "string", "label"),
        TensorSpec("classLabel_probs", (), "float64", "probabilities"),
        TensorSpec("logits", (1, 5), "float32"),
    )
    given = mil.load(artifact.path).predict({"image": image().numpy()})
    with torch.no_grad():
        logits = Net()(image())[0]
    assert given["classLabel"] == LABELS[int(logits.argmax())]
    expected = dict(zip(LABELS, logits.softmax(0).tolist(), strict=True))
    assert given["classLabel_probs"] == pytest.approx(expected, abs=1e-5)
    np.testing.assert_allclose(given["logits"][0], logits.numpy(), rtol=1e-4, atol=1e-5)


def test_another_number_of_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        NotConverted, match=r"2 labels need an output of shape \(1, 2\), but the model has logits \(1, 5\)"
    ):
        convert(tmp_path, Request(labels=("cat", "dog")))
    assert list(tmp_path.iterdir()) == []


def test_the_same_bytes_again_also_after_a_failure(made: Artifact, tmp_path: Path) -> None:
    """coremltools counts names across conversions, and forgets the count only after one that succeeds."""
    with pytest.raises(NotConverted):
        convert(tmp_path, program=captured(Unknown(), image()))
    program = net()
    before = str(program)
    assert convert(tmp_path, program=program).sha256 == made.sha256
    assert str(program) == before
    assert spec_of(made).SerializeToString() != spec_of(convert(tmp_path, FLOAT32)).SerializeToString()


def test_the_same_bytes_in_another_process(made: Artifact, tmp_path: Path) -> None:
    """Both formats, under another seed of Python's hashes."""
    onnx = to_onnx.convert(net(), tmp_path / "net.onnx", Request(), METADATA, **NAMES)
    code = (
        "from pathlib import Path; from fuseport.export.formats import to_coreml, to_onnx;"
        "from fuseport.export.request import Request; from programs import METADATA, NAMES, net; Path('there').mkdir();"
        "print(to_coreml.convert(net(), Path('there/net.mlpackage'), Request(), METADATA, **NAMES).sha256);"
        "print(to_onnx.convert(net(), Path('there/net.onnx'), Request(), METADATA, **NAMES).sha256)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "3", "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [made.sha256, onnx.sha256], done.stderr
    assert done.stderr == ""


class Unknown(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.special.bessel_j0(x.relu())


def test_an_operator_without_translation_is_named_with_its_place(tmp_path: Path) -> None:
    program = captured(nn.Sequential(nn.Identity(), Unknown()), image())
    told = r"no translation of aten::special_bessel_j0 of 1 \(tests/test_to_coreml.py:\d+\); say it there in other"
    with pytest.raises(NotConverted, match=told) as caught:
        convert(tmp_path, program=program)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_what_coremltools_cannot_convert_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(program: Any, **options: Any) -> None:
        raise ValueError("no such thing\nand more")

    monkeypatch.setattr(coremltools, "convert", refuse)
    with pytest.raises(NotConverted, match=r"^coremltools cannot convert this model: no such thing") as caught:
        convert(tmp_path)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_outputs_that_are_one_tensor_are_refused(tmp_path: Path) -> None:
    class Twice(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            hidden = x.relu()
            return hidden, hidden

    with pytest.raises(NotConverted, match="two of the outputs a, b are one tensor"):
        convert(tmp_path, program=captured(Twice(), image()), output_names=("a", "b"))


@pytest.mark.parametrize("name", ["logits:0", "1st", "a b", ""])
def test_a_name_that_core_ml_cannot_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotConverted, match=r"Core ML cannot name a tensor .*; give a letter or _"):
        convert(tmp_path, output_names=(name,))


def test_one_name_for_input_and_output(tmp_path: Path) -> None:
    with pytest.raises(NotConverted, match="names that differ for inputs and outputs, but got x, x"):
        convert(tmp_path, input_names=("x",), output_names=("x",))


def test_a_picture_needs_an_input_that_is_one(tmp_path: Path) -> None:
    program = captured(nn.Linear(4, 5), torch.zeros(1, 4))
    with pytest.raises(NotConverted, match=r"a picture input needs one input of shape \(1, 3, H, W\)"):
        convert(tmp_path, Request(image_input=ImageInput(MEAN, (1, 1, 1))), program)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(deployment_target="iOS14"), "deployment target iOS14 is not supported; supported: iOS15, iOS16, .*"),
        (Request(precision="int8"), "precision int8 is not supported; supported: float16, float32"),
        (Request(batch=BatchRange()), "Core ML needs an upper bound for an open batch; give a range"),
        (Request(batch=BatchRange(1, 8), labels=LABELS), "one picture at a time with class labels"),
        (Request(batch=BatchRange(1, 8), image_input=ImageInput(MEAN, MEAN)), "one picture at a time with a picture"),
        (Request(image_input=ImageInput((0.5,), (0.5,))), "has 3 channels, but the model takes 1"),
    ],
)
def test_options_that_cannot_be_are_refused_before_any_work(request_: Request, message: str) -> None:
    with pytest.raises(NotConverted, match=message) as caught:
        to_coreml.check(request_)
    assert "\n" not in str(caught.value)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.cells = nn.LSTM(6, 4, num_layers=2, bidirectional=True, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.cells(x)[0]


@pytest.mark.filterwarnings("ignore:The tensor attributes self.cells")
def test_an_lstm_becomes_one_operation_per_layer(tmp_path: Path) -> None:
    module, x = Recurrent().eval(), torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(1))
    artifact = convert(tmp_path, Request(precision="float32"), captured(module, x))
    assert artifact.operations["lstm"] == 2
    given = mil.load(artifact.path).predict({"image": x.numpy()}, mode="exact")["logits"]
    np.testing.assert_allclose(given, module(x).detach().numpy(), rtol=1e-5, atol=1e-6)


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(to_coreml, "find_spec", lambda name: None)
    with pytest.raises(NotConverted) as caught:
        to_coreml.check(Request())
    assert str(caught.value) == 'Core ML needs coremltools, not installed here; pip install "fuseport[coreml]"'


FULL = (
    OSError(errno.ENOSPC, "No space left on device"),
    RuntimeError("filesystem error: cannot copy: No space left on device [net.mlpackage]"),
)


@pytest.mark.parametrize("error", [*FULL, KeyboardInterrupt()])
def test_a_full_disk_or_ctrl_c_leaves_the_old_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def half(program: Any, *, package_dir: str, **options: Any) -> None:
        Path(package_dir).mkdir()
        (Path(package_dir) / "Manifest.json").write_text("half of it")
        raise error

    (tmp_path / "net.mlpackage").mkdir()
    (tmp_path / "net.mlpackage" / "Manifest.json").write_text("from before")
    monkeypatch.setattr(coremltools, "convert", half)
    with pytest.raises((NotWritten, KeyboardInterrupt)):
        convert(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in files_of(tmp_path)] == ["net.mlpackage/Manifest.json"]
    assert (tmp_path / "net.mlpackage" / "Manifest.json").read_text() == "from before"


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    convert(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_elsewhere_than_on_macos_nothing_is_predicted(made: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert to_coreml.runner(made) == NotRun("Core ML prediction needs macOS")


def test_on_macos_the_package_is_opened_and_fed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our executor stands in for the framework, behind the same MLModel: pictures, labels, probabilities in order."""
    request = Request(precision="float32", labels=LABELS, image_input=ImageInput(MEAN, (1, 1, 1)))
    artifact = convert(tmp_path, request)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    monkeypatch.setattr(sys, "platform", "darwin")
    with mil.drop_in():
        run = to_coreml.runner(replace(artifact), compute_units="CPU_ONLY")
        assert not isinstance(run, NotRun)
        given = run({"image": pixels})
    probabilities = torch.from_numpy(given["logits"])[0].softmax(0)
    np.testing.assert_allclose(given["classLabel_probs"], probabilities.numpy(), rtol=1e-4, atol=1e-6)
    assert given["classLabel"] == LABELS[int(probabilities.argmax())]
