"""The three forms of one model cost the same multiply-accumulates, and the package says which module they are of."""

from pathlib import Path

import pytest
from fuseport.export.cost import cost
from fuseport.export.given import NotGiven, given
from fuseport.export.job import Source
from test_cli import run


@pytest.mark.usefixtures("tiny")
def test_the_saved_files_cost_what_the_model_costs(tmp_path: Path):
    words = ("--variant", "shvit_tiny", "--format", "onnx", "--format", "coreml", "--samples", "1", "--quiet")
    assert run("export-model", *words, "--output-dir", str(tmp_path)) == 0
    source = Source(variant="")
    model = cost(given("shvit_tiny", source))
    onnx = cost(given(str(tmp_path / "shvit_tiny.onnx"), source))
    package = cost(given(str(tmp_path / "shvit_tiny.mlpackage"), source))
    assert package.total.macs == model.total.macs > 0
    single = 16  # the last stage has one token: onnxsim takes out its softmax, and the product of 16 before it
    assert onnx.total.macs == model.total.macs - single
    assert package.total.weight_bytes < 0.6 * onnx.total.weight_bytes, "float16 and float32"
    assert {layer.module for layer in package.layers if layer.macs} & {layer.module for layer in model.layers}
    (tmp_path / "shvit_tiny.report.json").unlink()
    alone = cost(given(str(tmp_path / "shvit_tiny.mlpackage"), source))
    assert {layer.module for layer in alone.layers} == {""}
    assert alone.total == package.total


def test_what_is_no_package_is_refused(tmp_path: Path):
    (tmp_path / "x.mlpackage").mkdir()
    (tmp_path / "x.mlpackage" / "Manifest.json").write_text("{}")
    with pytest.raises(NotGiven, match="cannot be read as a Core ML package"):
        cost(given(str(tmp_path / "x.mlpackage"), Source(variant="")))
