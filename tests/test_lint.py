"""`fuseport lint`: findings with their modules, waivers, levels, reports and exit codes."""

from __future__ import annotations

import contextlib
import json
import random
import re
from pathlib import Path
from xml.etree import ElementTree

import mil_fuzz
import pytest
import torch
from fuseport.export.formats import to_coreml
from fuseport.export.lint import NotLinted, lint, rule_views
from fuseport.export.page.write import render
from fuseport.export.report import report_json
from fuseport.export.request import Request
from fuseport.export.waivers import Waiver, WaiverError, read_waivers
from fuseport.models.swiftformer import AdditiveAttention
from fuseport.reparam import RULES
from mil_build import Program, Ref
from test_cli import run
from torch import Tensor, nn
from torch.nn import functional as F

SCORES = "last-axis-of-one"


def scores(folder: Path, export_id: str = "") -> Path:
    """A package with one tensor of N×1, and a remainder, which has no path on the engine."""
    program = Program(opset=8)
    program.input("x", (1, 3136, 32), "fp16")
    program.op("reduce_sum", ("scores", (1, 3136, 1), "fp16"), x=Ref("x"), axes=[-1], keep_dims=True)
    program.op("mod", ("y", (1, 3136, 1), "fp16"), x=Ref("scores"), y=Ref("scores"))
    program.output("y", "fp16")
    program.model.description.metadata.userDefined["fuseport.export_id"] = export_id
    return program.save(folder / "scores.mlpackage")


class AsPublished(nn.Module):
    """Efficient additive attention as the authors wrote it, on positions (B, N, C), with scores of N×1."""

    def __init__(self, ours: AdditiveAttention) -> None:
        super().__init__()
        self.ours = ours

    def forward(self, x: Tensor) -> Tensor:
        def linear(layer: nn.Linear, value: Tensor) -> Tensor:
            return F.linear(value, layer.weight, layer.bias)

        positions = x.flatten(2).transpose(1, 2)
        query = F.normalize(linear(self.ours.to_query, positions), dim=-1)
        key = F.normalize(linear(self.ours.to_key, positions), dim=-1)
        pooled = (F.normalize(query @ self.ours.w_g, dim=1) * query).sum(1, keepdim=True)
        return linear(self.ours.final, linear(self.ours.Proj, pooled * key) + query)


def test_the_textbook_case_and_the_form_that_mends_it(tmp_path: Path) -> None:
    """The same attention twice: the authors' form wastes 31 parts of 32 on its scores, ours computes them as a map."""
    torch.manual_seed(0)
    ours = AdditiveAttention(16, "l2").eval()
    x = torch.randn(1, 16, 32, 32)
    wasted = {}
    for name, module in (("published", AsPublished(ours).eval()), ("ours", ours)):
        target = tmp_path / f"{name}.mlpackage"
        names = {"input_names": ("x",), "output_names": ("y",), "export_id": name}
        to_coreml.convert(torch.export.export(module, (x,)), target, Request(), {}, **names)  # pyright: ignore
        found = lint([target]).findings
        wasted[name] = sum(one.wasted_bytes for one in found if one.rule == SCORES)
    torch.testing.assert_close(AsPublished(ours)(x).transpose(1, 2).view_as(x), ours(x), rtol=1e-5, atol=1e-5)
    assert wasted["published"] >= 1024 * 62
    assert wasted["ours"] == 0


def test_what_mends_a_finding_is_a_rule_of_exports() -> None:
    named = {name for view in rule_views() for name in re.findall(r"rule ([a-z-]+)", view.mended_by)}
    assert {"token-map", "late-split"} <= named <= {rule.NAME for rule in RULES}


def test_findings_name_the_module_they_came_from(tmp_path: Path) -> None:
    """The report beside the package tells, if it is of this export; waivers know both names."""
    package = scores(tmp_path, export_id="f00d")
    artifact = {"path": "scores.mlpackage", "export_id": "f00d", "modules": {"scores": "blocks.0.attn"}}
    beside = tmp_path / "net.report.json"
    onnx = {**artifact, "path": "scores.onnx", "format": "onnx", "modules": {"scores": "of another file"}}
    beside.write_text(json.dumps({"results": [{"artifact": onnx}, {"artifact": artifact}]}))
    waiver = Waiver(SCORES, "measured", where="blocks.*.attn")
    first, second = (one for one in lint([package], waivers=(waiver,)).findings if one.rule == SCORES)
    assert (first.module, first.name, first.waived) == ("blocks.0.attn", "scores", "measured")
    assert (second.module, second.name, second.waived) == ("", "y", "")
    beside.write_text(json.dumps({"results": [{"artifact": {**artifact, "export_id": "another"}}]}))
    assert {one.module for one in lint([package]).findings} == {""}


def test_a_waiver_accepts_what_it_names_and_no_more(tmp_path: Path) -> None:
    package = scores(tmp_path)
    here, elsewhere = Waiver(SCORES, "measured", where="score*"), Waiver(SCORES, "old", where="blocks.*")
    report = lint([package], waivers=(here, elsewhere))
    assert {(one.name, one.waived) for one in report.findings if one.rule == SCORES} == {
        ("scores", "measured"),
        ("y", ""),
    }
    assert report.unused_waivers == (elsewhere,)


@pytest.mark.parametrize(
    ("rule", "level", "fails"), [("reported-remainder", "error", True), ("no-engine-path", "error", False)]
)
def test_waived_findings_do_not_fail(rule: str, level: str, fails: bool, tmp_path: Path) -> None:
    """The remainder breaks two rules, an error and a warning; only the waived error is accepted."""
    report = lint([scores(tmp_path)], waivers=(Waiver(rule, "because"),))
    assert report.fails(level) == fails  # pyright: ignore
    assert report.fails("warning")


def test_an_unused_waiver_is_as_bad_as_a_warning(tmp_path: Path) -> None:
    program = Program(opset=8)
    program.input("x", (1, 32), "fp16")
    program.op("relu", ("y", (1, 32), "fp16"), x=Ref("x"))
    program.output("y", "fp16")
    report = lint([program.save(tmp_path / "net.mlpackage")], waivers=(Waiver(SCORES, "long ago"),))
    assert not report.findings
    assert report.fails("warning")
    assert not report.fails("error")


def waivers(folder: Path, text: str) -> Path:
    file = folder / "lint.toml"
    file.write_text(text)
    return file


def test_the_file_of_waivers_is_read(tmp_path: Path) -> None:
    file = waivers(
        tmp_path, '[[waive]]\nrule = "a"\nwhere = "blocks.*"\nreason = "why"\n[[waive]]\nrule = "b"\nreason = "so"\n'
    )
    assert read_waivers(file, {"a", "b"}) == (Waiver("a", "why", "blocks.*"), Waiver("b", "so"))
    assert read_waivers(waivers(tmp_path, ""), {"a"}) == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[[waive]]\nrule = "a"\n', "without a reason"),
        ('[[waive]]\nrule = "a"\nreason = " "\n', "without a reason"),
        ('[[waive]]\nrule = "c"\nreason = "x"\n', "unknown rule 'c'"),
        ('[[waive]]\nrule = "a"\nreason = "x"\nat = "y"\n', "unknown key 'at'"),
        ("[[waive]]\nrule = 3\n", "a table of texts"),
        ("<<<<<<< ours\n", "is not TOML"),
        ("[other]\n", "waive.* alone, found other"),
        ("waive = 3\n", "alone, found waive"),
    ],
)
def test_a_bad_waiver_is_refused_in_one_line(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(WaiverError, match=told) as error:
        read_waivers(waivers(tmp_path, text), {"a", "b"})
    assert "\n" not in str(error.value)


def test_what_is_no_package_is_refused(tmp_path: Path) -> None:
    for name in ("nothing.mlpackage", "lint.toml"):
        waivers(tmp_path, "")
        with pytest.raises(NotLinted):
            lint([tmp_path / name])


def test_damaged_packages_are_looked_at_or_refused(tmp_path: Path) -> None:
    pristine = mil_fuzz.rich_program().save(tmp_path / "pristine.mlpackage")
    for seed in range(100):
        damaged = tmp_path / f"{seed}.mlpackage"
        mil_fuzz.damage(damaged, pristine, random.Random(seed))
        with contextlib.suppress(NotLinted):
            assert lint([damaged]).schema


def test_the_command_as_a_shell_sees_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    package = str(scores(tmp_path))
    assert run("fuseport", "lint", package) == 1
    printed = capsys.readouterr().out
    for told in (
        SCORES,
        "388,864 bytes wasted",
        "https://github.com/apple/coreai-models",
        "Apple's guidance",
        "instead: ",
    ):
        assert told in printed
    assert run("fuseport", "lint", package, "--fail-on", "never", "--quiet") == 0
    assert run("fuseport", "lint", "--rules") == 0
    assert run("fuseport", "lint", "--rules", "--json") == 0
    capsys.readouterr()
    assert run("fuseport", "lint", package, "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "fuseport.lint/1"
    assert {"rule", "level", "module", "name", "operator", "wasted_bytes", "waived"} <= set(
        told["packages"][0]["findings"][0]
    )


@pytest.mark.parametrize(
    "words", [(), ("missing.mlpackage",), ("{package}", "--waivers", "missing.toml"), ("{package}", "--chip", "A7")]
)
def test_wrong_usage(words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    package = str(scores(tmp_path))
    assert run("fuseport", "lint", *(word.format(package=package) for word in words)) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_reports_show_findings_and_junit_fails_on_them(tmp_path: Path) -> None:
    report = json.loads(
        report_json(lint([scores(tmp_path)], waivers=(Waiver(SCORES, "measured"), Waiver("conv-3d", "old"))))
    )
    html = render(report, "html")
    ElementTree.fromstring(html)
    for told in ("no-engine-path", "measured", "Waivers that nothing needs", "arxiv.org/abs/2606.22283"):
        assert told in html
    assert "no-engine-path" in render(report, "md")
    cases = {
        case.get("name"): [child.tag for child in case]
        for case in ElementTree.fromstring(render(report, "junit")).iter("testcase")
    }
    assert cases["no-engine-path"] == ["failure"]
    assert cases[SCORES] == ["skipped"]
