"""Opening packages: what is read, and every way in which a damaged or hostile one is refused in one line."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fuseport import mil
from fuseport.mil.package import open_package
from mil_build import Program, Ref, affine_program, set_type


def model_file(path: Path) -> Path:
    return path / "Data" / "com.apple.CoreML" / "model.mlmodel"


def weight_file(path: Path) -> Path:
    return path / "Data" / "com.apple.CoreML" / "weights" / "weight.bin"


def refused(path: Path, *words: str) -> str:
    """Loading fails with a MilError of one line that holds all `words`."""
    with pytest.raises(mil.MilError) as caught:
        mil.load(path)
    text = str(caught.value)
    assert "\n" not in text
    assert isinstance(caught.value, ValueError)
    for word in words:
        assert word in text
    return text


def test_reads_a_package_and_a_bare_model(tmp_path: Path) -> None:
    path = affine_program().save(tmp_path / "m.mlpackage")
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    packaged = mil.load(path).predict({"x": x})["y"]
    bare = tmp_path / "model.mlmodel"
    shutil.copy(model_file(path), bare)
    shutil.copytree(weight_file(path).parent, tmp_path / "weights")
    np.testing.assert_array_equal(packaged, mil.load(bare).predict({"x": x})["y"])
    package = open_package(path)
    assert package.specification_version == 8
    assert package.functions["main"].opset == 7
    assert [o.type for o in package.functions["main"].block.operations] == ["const", "const", "linear", "relu"]


def test_refuses_what_is_not_there(tmp_path: Path) -> None:
    refused(tmp_path / "none.mlpackage", "found nothing")
    (tmp_path / "empty.mlpackage").mkdir()
    refused(tmp_path / "empty.mlpackage", "Manifest.json")


@pytest.mark.parametrize(
    "manifest",
    [
        "",
        "[]",
        "{",
        "[" * 100_000,
        '{"rootModelIdentifier": "A"}',
        '{"rootModelIdentifier": "A", "itemInfoEntries": []}',
        '{"rootModelIdentifier": ["A"], "itemInfoEntries": {"A": {"path": "x"}}}',
        '{"rootModelIdentifier": "A", "itemInfoEntries": {"A": {"path": 3}}}',
        '{"rootModelIdentifier": "A", "itemInfoEntries": {"A": {"path": "com.apple.CoreML/none.mlmodel"}}}',
        '{"rootModelIdentifier": "A", "itemInfoEntries": {"A": {"path": "com.apple.CoreML"}}}',
    ],
)
def test_refuses_a_broken_manifest(tmp_path: Path, manifest: str) -> None:
    path = affine_program().save(tmp_path / "m.mlpackage")
    (path / "Manifest.json").write_text(manifest)
    refused(path)


@pytest.mark.parametrize(
    "entry", ["/etc/passwd", "../../../secret", "com.apple.CoreML/../../../secret", "..\\secret", "x\0y", ""]
)
def test_never_follows_a_path_out_of_the_package(tmp_path: Path, entry: str) -> None:
    (tmp_path / "secret").write_bytes(b"private")
    path = affine_program().save(tmp_path / "m.mlpackage")
    manifest = json.loads((path / "Manifest.json").read_text())
    manifest["itemInfoEntries"]["A"]["path"] = entry
    (path / "Manifest.json").write_text(json.dumps(manifest))
    assert "private" not in refused(path)


def test_never_follows_a_link_out_of_the_package(tmp_path: Path) -> None:
    outside = affine_program().save(tmp_path / "outside.mlpackage")
    path = affine_program().save(tmp_path / "m.mlpackage")
    weight_file(path).unlink()
    weight_file(path).symlink_to(weight_file(outside))
    refused(path, "outside the package")


def test_never_reads_weights_out_of_the_package(tmp_path: Path) -> None:
    program = affine_program()
    program.block.operations[0].attributes["val"].blobFileValue.fileName = "@model_path/../../../other.bin"
    path = program.save(tmp_path / "m.mlpackage")
    shutil.copy(weight_file(path), tmp_path / "other.bin")
    refused(path, "outside the package")


def test_refuses_other_kinds_of_model(tmp_path: Path) -> None:
    for kind, words in (
        ("pipeline", "pipeline of several"),
        ("neuralNetwork", "convert_to='mlprogram'"),
        ("neuralNetworkClassifier", "convert_to='mlprogram'"),
    ):
        program = affine_program()
        getattr(program.model, kind).SetInParent()
        refused(program.save(tmp_path / kind), words)
    program = affine_program()
    program.model.ClearField("mlProgram")
    refused(program.save(tmp_path / "none"), "no model")


def test_refuses_a_newer_specification(tmp_path: Path) -> None:
    program = affine_program()
    program.model.specificationVersion = 11
    refused(program.save(tmp_path / "m.mlpackage"), "specification version 11", "older deployment target")


def test_refuses_an_unknown_operator_set(tmp_path: Path) -> None:
    program = affine_program()
    program.function.block_specializations["CoreML12"].CopyFrom(program.block)
    program.function.opset = "CoreML12"
    refused(program.save(tmp_path / "m.mlpackage"), "CoreML12")


def test_names_every_unknown_operator_with_its_place(tmp_path: Path) -> None:
    program = affine_program()
    program.op("fold_paper", ("p", (2, 3), "fp32"), x=Ref("y"))
    program.op("fold_paper", ("q", (2, 3), "fp32"), x=Ref("p"))
    program.op("cut_paper", ("r", (2, 3), "fp32"), x=Ref("q"))
    with pytest.raises(mil.UnsupportedOperator, match=r"fold_paper at 'p' \(operation 4 .*cut_paper at 'r'"):
        mil.load(program.save(tmp_path / "m.mlpackage"))


def test_names_an_operator_that_is_newer_than_the_operator_set(tmp_path: Path) -> None:
    program = Program(opset=5)
    mask = program.const(np.zeros(1, np.uint8), dtype="uint8")
    data = program.const(np.zeros(0, np.float32))
    program.op("constexpr_sparse_to_dense", ("w", (2,), "fp32"), mask=Ref(mask), nonzero_data=Ref(data))
    program.input("x", (2,))
    program.output("w")
    refused(program.save(tmp_path / "m.mlpackage"), "constexpr_sparse_to_dense at 'w'")


def test_refuses_inputs_that_an_operator_does_not_know(tmp_path: Path) -> None:
    program = affine_program()
    program.op("relu", ("w", (2, 3), "fp32"), x=Ref("y"), slope=0.1)
    refused(program.save(tmp_path / "m.mlpackage"), "relu at 'w'", "'slope'")
    program = affine_program()
    program.op("linear", ("w", (2, 3), "fp32"), x=Ref("y"))
    refused(program.save(tmp_path / "n.mlpackage"), "lacks its input 'weight'")


def test_refuses_a_cycle(tmp_path: Path) -> None:
    program = affine_program()
    program.block.operations[2].inputs["x"].arguments[0].name = "y"
    refused(program.save(tmp_path / "m.mlpackage"), "before it is made")


def test_refuses_a_value_made_twice(tmp_path: Path) -> None:
    program = affine_program()
    program.op("relu", ("z", (2, 3), "fp32"), x=Ref("y"))
    refused(program.save(tmp_path / "m.mlpackage"), "'z' is made twice")


def test_refuses_an_output_that_is_never_made(tmp_path: Path) -> None:
    program = affine_program()
    program.output("ghost")
    refused(program.save(tmp_path / "m.mlpackage"), "'ghost' is never made")


def test_refuses_a_description_that_does_not_fit(tmp_path: Path) -> None:
    program = affine_program()
    program.model.description.input[0].name = "picture"
    refused(program.save(tmp_path / "m.mlpackage"), "'picture'")
    program = affine_program()
    program.model.description.output[0].name = "logits"
    refused(program.save(tmp_path / "n.mlpackage"), "'logits'")


def test_refuses_blocks_nested_too_deep(tmp_path: Path) -> None:
    program = affine_program()
    block = program.block
    for depth in range(40):
        operation = block.operations.add(type="cond")
        set_type(operation.outputs.add(name=f"d{depth}").type, "fp32", ())
        block = operation.blocks.add()
    refused(program.save(tmp_path / "m.mlpackage"))


def test_refuses_a_huge_tensor(tmp_path: Path) -> None:
    program = affine_program()
    program.op("fill", ("w", (1 << 20, 1 << 20), "fp32"), shape=[1 << 20, 1 << 20])
    refused(program.save(tmp_path / "m.mlpackage"), "declares 1099511627776 elements")


def test_refuses_a_huge_tensor_that_is_computed(tmp_path: Path) -> None:
    program = affine_program()
    program.op("fill", ("w", (None, None), "fp32"), shape=[1 << 20, 1 << 20])
    program.output("w")
    model = mil.load(program.save(tmp_path / "m.mlpackage"))
    with pytest.raises(mil.ExecutionError, match=r"fill 'w'.*1099511627776 elements"):
        model.predict({"x": np.zeros((2, 4), np.float32)})


def overwrite(offset: int, data: bytes) -> Callable[[bytearray], bytearray]:
    def change(weights: bytearray) -> bytearray:
        weights[offset : offset + len(data)] = data
        return weights

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w[:40], "header"),
        (lambda w: w[:100], "outside the file"),
        (lambda w: w[:150], "run past the end"),
        (overwrite(4, struct.pack("<I", 1)), "version 1"),
        (overwrite(64, struct.pack("<I", 0xDEADBEE0)), "mark"),
        (overwrite(68, struct.pack("<I", 1)), "declares fp32, the weight file holds fp16"),
        (overwrite(68, struct.pack("<I", 99)), "unknown type 99"),
        (overwrite(72, struct.pack("<Q", 44)), "44 bytes stored for 12 elements"),
        (overwrite(72, struct.pack("<Q", 1 << 63)), "run past the end"),
        (overwrite(80, struct.pack("<Q", 1 << 62)), "run past the end"),
        (overwrite(80, struct.pack("<Q", 0)), "run past the end"),
        (overwrite(88, struct.pack("<Q", 32)), "bytes stored for"),
    ],
)
def test_refuses_damaged_weights(tmp_path: Path, change: Callable[[bytearray], bytearray], words: str) -> None:
    path = affine_program().save(tmp_path / "m.mlpackage")
    weights = bytearray(weight_file(path).read_bytes())
    weight_file(path).write_bytes(change(weights))
    refused(path, words)


def test_refuses_an_offset_outside_the_weights(tmp_path: Path) -> None:
    for offset in (0, 63, 1 << 20, (1 << 64) - 1):
        program = affine_program()
        program.block.operations[0].attributes["val"].blobFileValue.offset = offset
        refused(program.save(tmp_path / f"{offset}.mlpackage"), "outside the file")


def test_refuses_missing_or_empty_weights(tmp_path: Path) -> None:
    path = affine_program().save(tmp_path / "m.mlpackage")
    weight_file(path).write_bytes(b"")
    refused(path, "cannot map")
    weight_file(path).unlink()
    refused(path, "missing")


def test_refuses_constants_of_another_size(tmp_path: Path) -> None:
    program = affine_program()
    program.const([1, 2, 3])
    program.block.operations[-1].attributes["val"].immediateValue.tensor.ints.values.append(4)
    refused(program.save(tmp_path / "m.mlpackage"), "holds 4 elements, expected 3")


def test_refuses_a_file_that_is_no_model(tmp_path: Path) -> None:
    path = affine_program().save(tmp_path / "m.mlpackage")
    model_file(path).write_bytes(b"\xff" * 1000)
    refused(path, "not a Core ML model")
    model_file(path).write_bytes(b"")
    refused(path, "no model")
