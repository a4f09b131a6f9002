"""Joining a report to its export: how sure it is, when it is refused, and each operation's module."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fuseport.validate.xcode import ReportError
from fuseport.validate.xcode.join import BY_NAME, BY_WEIGHT, find_export, judge, plain_histogram
from fuseport.validate.xcode.manifest import ExportRecord, read_records
from fuseport.validate.xcode.report import Model
from xcode_samples import MAC, MODULES, PHONE, export_report, phone, read

HISTOGRAM = {"conv": 5, "gelu": 2, "add": 2}
MODEL = Model(name="net", bytes=1000, histogram={"Ios17.conv": 5, "Ios16.gelu": 2, "Ios17.add": 2})


def record(**parts: object) -> ExportRecord:
    return ExportRecord("net.report.json", **parts)  # type: ignore[arg-type]


def test_by_id(tmp_path: Path) -> None:
    join = find_export(read(PHONE.read_bytes()), read_records([export_report(tmp_path)]))
    assert join is not None
    assert (join.match.level, join.variant, join.matched, join.unused) == ("exact", "tinynet", 15, ())
    operations = read(PHONE.read_bytes()).operations
    assert {op.name: module for op, module in zip(operations, join.modules, strict=True)} == MODULES
    assert set(join.found_by) == {BY_NAME}


def test_another_id_is_another_model_whatever_else_agrees(tmp_path: Path) -> None:
    records = read_records([export_report(tmp_path, export_id="demo-0002")])
    with pytest.raises(
        ReportError, match=r"another model than tinynet\.report\.json exported: export id demo-0001 in the"
    ):
        find_export(read(PHONE.read_bytes()), records)


@pytest.mark.parametrize(("parts", "level"), [
    ({"name": "net", "bytes": 1000, "operations": HISTOGRAM}, "strong"),
    ({"name": "net", "operations": HISTOGRAM}, "strong"),
    ({"name": "other", "bytes": 1000, "operations": HISTOGRAM}, "likely"),
    ({"operations": HISTOGRAM}, "likely"),
    ({"name": "net", "bytes": 1000}, "likely"),
    ({"name": "net", "bytes": 999}, "weak"),
    ({"name": "net"}, "weak"),
    ({"name": "net", "operations": {"conv": 5}}, "none"),
    ({"name": "other", "bytes": 999}, "none"),
    ({"name": "other"}, "none"),
    ({}, "none"),
    ({"export_id": "x"}, "none"),
])  # fmt: skip
def test_without_an_id_on_both_sides(parts: dict[str, object], level: str) -> None:
    match = judge(MODEL, record(**parts))
    assert match.level == level
    assert len(match.evidence) == 3


def test_an_operation_more_is_no_contradiction() -> None:
    many, more = {"conv": 50, "add": 20}, {"Ios17.conv": 50, "Ios17.add": 20, "Ios17.cast": 1}
    model = Model(name="net", histogram=more)
    match = judge(model, record(name="net", operations=many))
    assert (match.level, match.evidence[2]) == ("weak", "operator histogram 99% alike")


def test_a_format_that_names_no_model() -> None:
    assert judge(Model(), record(name="net")).level == "weak"


def test_histograms_in_both_spellings() -> None:
    core_ml = {"Ios16.reduceMean": 1, "Ios17.layerNorm": 2, "Split": 3, "Ios18.constexprLutToDense": 9}
    assert plain_histogram(core_ml) == plain_histogram({"reduce_mean": 1, "layer_norm": 2, "split": 3, "const": 4})


def test_the_surest_of_several(tmp_path: Path) -> None:
    records = [record(name="tinynet"), *read_records([export_report(tmp_path)])]
    join = find_export(read(MAC.read_bytes()), records)
    assert join is not None
    assert join.match.level == "exact"


def test_artifacts_of_another_format_are_passed_over(tmp_path: Path) -> None:
    records = read_records([export_report(tmp_path, format="onnx")])
    with pytest.raises(ReportError, match="no artifact that a report of the format xcode measures"):
        find_export(read(PHONE.read_bytes()), records)


def test_no_exports_no_join() -> None:
    assert find_export(read(PHONE.read_bytes()), []) is None


def test_by_weight_where_the_name_is_not_in_the_table(tmp_path: Path) -> None:
    document = phone()
    for name in ("input_3_cast_fp16", "input_5_cast_fp16", "input_1_cast_fp16"):  # a conv, a gelu and the stem renamed
        for operation in _operations(document):
            for output in operation["outputs"]:
                output["name"] = "renamed_" + name if output["name"] == name else output["name"]
    join = find_export(read(document), read_records([export_report(tmp_path)]))
    assert join is not None
    found = {
        op.name: (m, how) for op, m, how in zip(read(document).operations, join.modules, join.found_by, strict=True)
    }
    assert found["renamed_input_3_cast_fp16"] == ("blocks.0.dw", BY_WEIGHT)
    assert found["renamed_input_5_cast_fp16"] == (None, None)  # a gelu has no weight
    assert set(join.unused) == {"input_3_cast_fp16", "input_5_cast_fp16", "input_1_cast_fp16"}


def test_ambiguous_weight_names_are_not_guessed() -> None:
    report = read(PHONE.read_bytes())
    conv = replace(report.operations[1], name="y", outputs=("y",), parameter="p_blocks_0_dw_weight_to_fp16")
    report = replace(report, operations=(conv,))
    sure = replace(record(export_id="demo-0001"), modules={"a": "blocks.0.dw"})
    unsure = replace(sure, modules={"a": "blocks.0.dw", "b": "blocks.0_dw"})
    for records, modules in ((sure, ("blocks.0.dw",)), (unsure, (None,))):
        join = find_export(report, [records])
        assert join is not None
        assert join.modules == modules


def _operations(document: dict) -> list[dict]:
    return document["deviceResults"]["modelStructure"]["program"]["_0"]["functions"]["main"]["block"]["operations"]


@pytest.mark.filterwarnings("ignore")  # of a conversion that is not under test here
def test_a_real_conversion_joins_whole() -> None:
    """The sample's module, converted now: every operation of the sample report finds the module that made it."""
    ct = pytest.importorskip("coremltools")
    torch = pytest.importorskip("torch")
    image = torch.zeros(1, 3, 64, 64)
    outputs = [ct.TensorType(name=name) for name in ("probs", "top_values", "top_indices")]
    package = ct.convert(
        torch.jit.trace(tiny_net(torch), image),
        inputs=[ct.TensorType(name="image", shape=tuple(image.shape))],
        outputs=outputs,
        minimum_deployment_target=ct.target.iOS17,
        skip_model_load=True,
    )
    join = find_export(read(PHONE.read_bytes()), [record(name="tinynet", modules=scopes(package))])
    assert join is not None
    assert (join.match.level, join.matched, set(join.found_by)) == ("weak", 15, {BY_NAME})
    operations = read(PHONE.read_bytes()).operations
    assert {op.name: module for op, module in zip(operations, join.modules, strict=True)} == MODULES


def tiny_net(torch: Any) -> Any:
    """The module that the samples' README prints."""
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, c: int) -> None:
            super().__init__()
            self.dw, self.pw, self.act = nn.Conv2d(c, c, 3, padding=1, groups=c), nn.Conv2d(c, c, 1), nn.GELU()

        def forward(self, x: Any) -> Any:
            return x + self.pw(self.act(self.dw(x)))

    class TinyNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1)
            self.blocks = nn.Sequential(Block(16), Block(16))
            self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 10)

        def forward(self, x: Any) -> Any:
            x = self.blocks(self.stem(x)).mean((2, 3))
            probabilities = self.head(self.norm(x)).softmax(-1)
            values, indices = probabilities.topk(3)
            return probabilities, values, indices

    torch.manual_seed(0)
    return TinyNet().eval()


def scopes(package: Any) -> dict[str, str]:
    """Operation output → module path, as a fresh conversion still knows it."""
    table = {}
    for operation in package._mil_program.functions["main"].operations:
        names = next((value for key, value in operation.scopes.items() if key.name == "TORCHSCRIPT_MODULE_NAME"), [])
        if operation.op_type != "const":
            table |= {output.name: ".".join(names[:-1]) for output in operation.outputs}
    return table
