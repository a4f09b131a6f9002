"""A user's own model through the whole of the main job: from its file or from Python, one input or several."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fuseport.export.artifact import NotConverted
from fuseport.export.job import Checks, Job, Source
from fuseport.export.pipeline import export
from fuseport.export.report import ExportReport
from fuseport.export.request import BatchRange, Request
from fuseport.export.subject import subject, truth
from fuseport.models.inputs import parse
from fuseport.models.user_model import load_file, load_module
from fuseport.models.weights_file import CheckpointError
from fuseport.reparam import CaptureError
from test_cli import run
from torch import nn

NETS = """
import torch
from torch import nn
from models.block import Block


class Net(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2)
        self.block = Block(8)
        self.head = nn.Linear(8, classes)

    def forward(self, x):
        return self.head(self.block(self.stem(x)).mean((2, 3)))


class Towers(nn.Module):
    def __init__(self):
        super().__init__()
        self.image = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.BatchNorm2d(8), nn.ReLU())
        self.words = nn.Embedding(20, 8)

    def forward(self, image, ids, unused=None, *, mask=None):
        seen = self.image(image).mean((2, 3))
        read = (self.words(ids) * mask.unsqueeze(-1)).sum(1)
        return {"score": (seen * read).sum(-1), "towers": (seen, read), "loss": None}
"""

BLOCK = """
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x):
        return x + self.norm(self.conv(x)).relu()
"""

TOWERS = tuple(map(parse, ("image=1,3,16,16", "ids=1,5:int64", "mask=1,5")))
PICTURE = (parse("1,3,32,32"),)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a `models/` of its own."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "models").mkdir()
    (folder / "models" / "__init__.py").write_text("")
    (folder / "models" / "block.py").write_text(BLOCK)
    (folder / "nets.py").write_text(NETS)
    return folder


def _job(checkout: Path, name: str, folder: Path, *formats: str, **changed: object) -> Job:
    inputs = TOWERS if name == "Towers" else PICTURE
    source = Source(f"{checkout / 'nets.py'}:{name}", inputs=inputs)
    return Job(source, formats, Request(), Checks(samples=2), output_dir=folder, **changed)  # pyright: ignore


def _passed(report: ExportReport, *outputs: str) -> bool:
    """Whether every output of every file passed on every engine."""
    made = [check.parity for result in report.results for check in result.checks]
    return all(tuple(one.name for one in parity.outputs if one.verdict == "passed") == outputs for parity in made)  # pyright: ignore


def test_a_picture_model_on_the_command_line(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(checkout)
    words = ("--model", "nets.py:Net", "--input-shape", "1,3,32,32", "--model-arg", "classes=4", "--samples", "2")
    formats = ("--format", "onnx", "--format", "coreml", "--output-dir", str(tmp_path), "--quiet")
    assert run("export-model", *words, *formats) == 0, capsys.readouterr().err
    report = json.loads((tmp_path / "nets_Net.report.json").read_text())
    assert (report["outcome"], report["variant"], report["family"]) == ("passed", "nets.py:Net", "own model")
    assert report["weights"]["kind"] == "conditioned"
    assert report["contract"] == {"inputs": ["x (1, 3, 32, 32) float32"], "inside_the_model": []}
    assert [step["rule"] for step in report["folded"]["rewrites"]] == ["conv-bn"]
    assert report["results"][0]["artifact"]["outputs"][0] | {"kind": ""} == {
        "name": "output",
        "shape": [1, 4],
        "dtype": "float32",
        "kind": "",
    }
    assert set(report["results"][0]["artifact"]["modules"].values()) >= {"stem", "block.conv", "head"}
    assert report["results"][0]["coverage"]["seen"] == report["results"][0]["coverage"]["total"] == 7


def test_several_inputs_and_outputs_are_each_judged(checkout: Path, tmp_path: Path) -> None:
    report = export(_job(checkout, "Towers", tmp_path, "onnx", "coreml"))
    assert report.outcome == "passed", report.reason
    assert _passed(report, "score", "towers1", "towers2")
    assert [(one.name, one.dtype) for one in report.results[0].artifact.inputs] == [
        ("image", "float32"),
        ("ids", "int64"),
        ("mask", "float32"),
    ]
    assert report.results[0].coverage.seen == report.results[0].coverage.total == 5  # pyright: ignore
    parity = report.results[0].checks[0].parity
    assert parity.inputs == "2 samples (image: pictures, ids: whole numbers below 20, mask: noise), seed 0"  # pyright: ignore


def test_one_wrong_output_of_several_fails(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fuseport.export.formats import to_onnx

    honest = to_onnx.runner

    def runner(artifact: object, **options: object) -> object:
        run = honest(artifact, **options)  # pyright: ignore
        return lambda feeds: {name: y * (1.01 if name == "towers2" else 1) for name, y in run(feeds).items()}

    monkeypatch.setattr(to_onnx, "runner", runner)
    report = export(_job(checkout, "Towers", tmp_path, "onnx"))
    assert report.outcome == "failed"
    assert "towers2: " in report.reason


def test_an_open_batch_of_several_inputs(checkout: Path, tmp_path: Path) -> None:
    job = _job(checkout, "Towers", tmp_path, "onnx")
    report = export(Job(job.source, job.formats, Request(batch=BatchRange(1, 8)), job.checks, output_dir=tmp_path))
    assert report.outcome == "passed", report.reason
    assert [one.shape for one in report.results[0].artifact.inputs] == [
        ("batch", 3, 16, 16),
        ("batch", 5),
        ("batch", 5),
    ]


class Recurrent(nn.Module):
    """The last of the tokens, read in order."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU]) -> None:
        super().__init__()
        self.read = kind(6, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.read(x)[0][:, -1]


def test_an_lstm_in_both_formats(tmp_path: Path) -> None:
    source = Source("Recurrent", inputs=(parse("1,3,6"),), module=Recurrent(nn.LSTM).eval())
    report = export(Job(source, ("onnx", "coreml"), Request(), Checks(samples=1), output_dir=tmp_path))
    assert report.outcome == "passed", report.reason
    assert _passed(report, "output")


def test_a_gru_is_refused_by_core_ml_in_one_line(tmp_path: Path) -> None:
    source = Source("Recurrent", inputs=(parse("1,3,6"),), module=Recurrent(nn.GRU).eval())
    with pytest.raises(
        NotConverted, match=r"^coremltools has no translation of aten::gru.input of read \(.*\); say it"
    ):
        export(Job(source, ("coreml",), Request(), Checks(samples=1), output_dir=tmp_path))


def test_an_open_batch_needs_it_in_every_output(tmp_path: Path) -> None:
    class Mean(nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"score": x.mean(1), "loss": x.mean()}

    source = Source("Mean", inputs=(parse("1,4"),), module=Mean().eval())
    request = Request(batch=BatchRange(1, 8))
    with pytest.raises(CaptureError, match=r"the output loss \(\) does not have the batch as its first dimension"):
        export(Job(source, ("onnx",), request, Checks(samples=1), output_dir=tmp_path))


def test_pictures_go_in_without_a_trace_in_the_paths(checkout: Path, tmp_path: Path) -> None:
    report = export(_job(checkout, "Net", tmp_path, "onnx", image_input="nhwc", input_name="picture", output_name="p"))
    assert report.outcome == "passed", report.reason
    (artifact,) = (result.artifact for result in report.results)
    assert (artifact.inputs[0].name, artifact.outputs[0].name) == ("picture", "p")
    assert set(artifact.modules.values()) >= {"stem", "block.conv", "head"}
    assert report.contract["mean"] == [0.485, 0.456, 0.406]


def test_mean_and_std_of_its_own(checkout: Path, tmp_path: Path) -> None:
    job = _job(checkout, "Net", tmp_path, "onnx", image_input="nchw")
    source = replace(job.source, mean=(0.5, 0.4, 0.3), std=(0.25, 0.5, 0.75))
    report = export(replace(job, source=source))
    assert report.outcome == "passed", report.reason
    assert (report.contract["mean"], report.contract["std"]) == ([0.5, 0.4, 0.3], [0.25, 0.5, 0.75])


def test_what_is_shown_of_it(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(checkout)
    inputs = ("--input-shape", "image=1,3,16,16", "--input-shape", "ids=1,5:int64", "--input-shape", "mask=1,5")
    assert run("fuseport", "show", "--model", "nets.py:Towers", *inputs, "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in shown["inputs"]] == ["image", "ids", "mask"]
    assert shown["outputs"][1] == {"name": "towers1", "shape": [1, 8], "dtype": "float32"}
    assert shown["parameters"] == 568
    assert run("fuseport", "show", "--model", "nets.py:Towers", *inputs) == 0
    assert "input          ids (1, 5) int64" in capsys.readouterr().out


RECURRENT = """
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.read = nn.LSTM(4, 3, batch_first=True)

    def forward(self, x):
        values, (last, _) = self.read(x)
        return values, last.mean(0)
"""


def test_the_truth_of_a_model_whose_weights_no_torch_function_reads(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(RECURRENT)
    source = Source(f"{tmp_path / 'net.py'}:Net", inputs=(parse("1,5,4"),))
    seen = subject(Job(source, (), Request(), Checks(samples=2)))
    exact = truth(seen)
    assert {name: (values.shape, values.dtype.name) for name, values in exact.items()} == {
        "output1": ((2, 5, 3), "float64"),
        "output2": ((2, 3), "float64"),
    }
    for name, values in exact.items():
        np.testing.assert_allclose(seen.reference[name], values, rtol=1e-5, atol=1e-6)


def test_bytes_are_refused_for_core_ml(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.ReLU):\n    def forward(self, x):\n        return x / 255\n"
    )
    source = Source(f"{tmp_path / 'net.py'}:Net", inputs=(parse("1,3,8,8:uint8"),))
    with pytest.raises(NotConverted, match="Core ML takes no tensor of bytes, as input x is"):
        export(Job(source, ("coreml",), Request(), Checks(samples=1), output_dir=tmp_path))


# ---- weights ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_a_checkpoint_of_its_own(checkout: Path, tmp_path: Path, prefix: str) -> None:
    location = f"{checkout / 'nets.py'}:Net"
    trained = load_file(location, PICTURE, seed=3).module
    state = {prefix + name: value for name, value in trained.state_dict().items()}
    torch.save({"model": state, "epoch": 3}, tmp_path / "net.pth")
    loaded = load_file(location, PICTURE, checkpoint=tmp_path / "net.pth")
    for ours, theirs in zip(loaded.module.state_dict().values(), trained.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert (loaded.weights.kind, loaded.weights.key) == ("checkpoint", "model")
    assert loaded.weights.notes == ((f"prefix {prefix} cut",) if prefix else ())


def test_a_checkpoint_of_another_model(checkout: Path, tmp_path: Path) -> None:
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "other.pth")
    with pytest.raises(
        CheckpointError, match=r"does not fit Net: keys 9 missing .*2 unexpected .weight, bias.*; expected"
    ):
        load_file(f"{checkout / 'nets.py'}:Net", PICTURE, checkpoint=tmp_path / "other.pth")


def test_own_weights_are_kept_and_identified(checkout: Path) -> None:
    torch.manual_seed(0)
    first = load_file(f"{checkout / 'nets.py'}:Net", PICTURE, own_weights=True)
    second = load_file(f"{checkout / 'nets.py'}:Net", PICTURE, own_weights=True)
    assert first.module.get_buffer("block.norm.running_var").eq(1).all(), "as its constructor made it"
    assert first.weights.sha256 != second.weights.sha256
    assert first.weights.describe().startswith("the model's own, as Net has them, sha256 ")


def test_a_module_from_python_keeps_its_weights_or_gets_conditioned_ones_on_a_copy() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    assert load_module(module, PICTURE).module is module
    before = {name: value.clone() for name, value in module.state_dict().items()}
    conditioned = load_module(module, PICTURE, condition=True)
    assert conditioned.weights.kind == "conditioned"
    assert not np.array_equal(conditioned.module.state_dict()["0.weight"].numpy(), before["0.weight"].numpy())
    for name, value in module.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_a_module_in_training_or_without_numbers() -> None:
    with pytest.raises(ValueError, match="is in training mode; expected a model in evaluation mode"):
        load_module(nn.Sequential(nn.Dropout()), PICTURE)
    with pytest.raises(ValueError, match="meta device"):
        load_module(nn.Linear(2, 2, device="meta").eval(), PICTURE)


# ---- what is said of bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--model", "none.py:Net"), "none.py: there is no such file"),
        (("--model", "nets.py:Nope"), "has no 'Nope'; it has Net, Towers"),
        (("--model", "nets.txt"), "--model takes FILE.py:NAME"),
        (("--model", "nets.py:Net"), "give each, batch first, as in --input-shape x=1,3,224,224"),
        (("--model", "nets.py:Net", "--input-shape", "1,x"), "cannot read the input shape '1,x'"),
        (("--model", "nets.py:Net", "--input-shape", "1,4,32,32"), "nets.py:15: `return self.head("),
        (("--model", "nets.py:Net", "--input-shape", "1,3,32,32", "--model-arg", "depth=1"), "it takes classes"),
        (("--model", "nets.py:Net", "--input-shape", "1,3,32,32", "--checkpoint", "no.pth"), "no.pth: no such file"),
        (("--model", "nets.py:Net", "--input-shape", "2,3,32,32", "--batch-size", "3"), "both asked for"),
        (("--model", "nets.py:Net", "--input-shape", "1,3,32,32", "--pretrained"), "--checkpoint or --own-weights"),
        (("--model", "nets.py:Net", "--variant", "shvit_s1"), "both name a model"),
        (("--variant", "shvit_s1", "--input-shape", "1,3,32,32"), "shvit_s1 knows its input"),
        (("--variant", "shvit_s1", "--mean", "0,0,0"), "for a model of your own; those of shvit_s1 are known"),
        (("--model", "nets.py:Net", "--input-shape", "1,3,32,32", "--std", "1,0,1"), "three numbers above 0"),
        (("--model", "nets.py:Net", "--input-shape", "1,3,32,32", "--mean", "grey"), "as in 0.5,0.5,0.5; got 'grey'"),
        (("--model", "nets.py:Net", "--input-shape", "1,3,32,32", "--output-name", "a,b"), "gives 2 names, but"),
        (("--model", "nets.py:Towers", "--input-shape", "1,3,16,16", "--image-input"), "does not take"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    checkout: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    told: str,
) -> None:
    monkeypatch.chdir(checkout)
    assert run("export-model", *words, "--format", "onnx", "--quiet", "--output-dir", "out") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert not (checkout / "out").exists()
