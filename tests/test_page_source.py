"""Every kind of report makes a page in every format; texts cannot break out of one; what is no report is refused."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from fuseport.export.page import FORMATS
from fuseport.export.page.source import NotAReport, page_of, read
from fuseport.export.page.write import Target, render, target, write
from page_samples import EVIL, EXPORT, all_reports, export_report, poisoned

ACTIVE = {"script", "iframe", "object", "embed", "link", "base", "form", "img", "a"}


class Elements(HTMLParser):
    """What a lenient browser would make of the text: the tags that act, and attributes that run or fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ACTIVE and not (given.get("href") or "").startswith("#"):
            self.found.append(tag)
        self.found += [name for name in given if name.startswith("on") or name in ("src", "style", "srcset")]


@pytest.fixture(scope="module")
def reports() -> dict[str, dict[str, Any]]:
    return all_reports()


@pytest.mark.parametrize(
    "kind", ["export", "check", "profile", "lint", "diff", "one", "several", "difference", "matrix", "gate"]
)
@pytest.mark.parametrize("evil", [False, True])
def test_every_kind_is_a_well_formed_page_without_anything_active(kind: str, evil: bool, reports: dict) -> None:
    report = poisoned(reports[kind]) if evil else reports[kind]
    text = render(report, "html")
    ElementTree.fromstring(text)
    assert Elements(text).found == []
    assert not re.search(r"https?://[^\"'<> ]+", re.sub(r">[^<]*<", "><", text)), "an address in an attribute"
    junit = ElementTree.fromstring(render(report, "junit"))
    assert junit.get("tests") == str(len(junit.findall(".//testcase"))) != "0"
    markdown = render(report, "md")
    assert not evil or not re.search(r"(?<!\\)<script", re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", markdown))


def test_an_unescaped_script_and_a_broken_drawing_are_found() -> None:
    assert Elements(f"<p>{EVIL}</p>").found == ["script", "img", "src", "onerror"]
    broken = render(export_report(), "html").replace("</svg>", "", 1)
    with pytest.raises(ElementTree.ParseError):
        ElementTree.fromstring(broken)


def test_a_failed_output_is_said_in_every_format() -> None:
    report = export_report()
    output = report["results"][0]["checks"][0]["parity"]["outputs"][0]
    output |= {"verdict": "failed", "reason": "too far off", "relative_l2": 0.5}
    report |= {"outcome": "failed", "reason": "too far off"}
    assert '<path class="dot bad"' in render(report, "html").split("</p>", 1)[1]
    assert render(report, "md").startswith("## ❌ ")
    junit = ElementTree.fromstring(render(report, "junit"))
    assert junit.get("failures") == "1"
    assert [failure.get("message") for failure in junit.iter("failure")] == ["too far off"]
    passed = ElementTree.fromstring(render(export_report(), "junit"))
    assert passed.get("failures") == "0"
    assert {case.get("name") for case in passed.iter("testcase")} == {"logits"}
    assert any(p.get("name") == "relative_l2" for p in passed.iter("property"))


def test_an_engine_that_could_not_run_is_skipped_not_passed() -> None:
    report = export_report()
    report["results"][0]["checks"][0]["parity"] = {"not_run": "needs macOS"}
    junit = ElementTree.fromstring(render(report, "junit"))
    assert [skipped.get("message") for skipped in junit.iter("skipped")] == ["needs macOS"]
    assert "needs macOS" in render(report, "html")


def test_a_report_without_later_fields_still_makes_a_page() -> None:
    report = export_report()
    del report["modules"]
    assert "Where the cost lies" not in render(report, "html")


@pytest.mark.parametrize("spoil", ["folded", "results", "latencies"])
def test_a_report_that_is_not_in_its_form_is_refused_in_one_line(spoil: str) -> None:
    with pytest.raises(NotAReport, match=r"not in the form fuseport\.report/1") as caught:
        page_of(export_report() | {spoil: 7})
    assert "\n" not in str(caught.value)


def test_what_is_no_report_is_refused(tmp_path: Path) -> None:
    for text in ("[]", '{"schema": "other/1"}', "{", "[" * 100_000):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(ValueError, match=r"x\.json"):
            read(tmp_path / "x.json")
    with pytest.raises(NotAReport, match="cannot be read"):
        read(tmp_path / "absent.json")


def test_the_json_is_the_report_itself_and_files_land_beside_it(tmp_path: Path) -> None:
    report = read(EXPORT)
    written = write(report, [Target(name) for name in FORMATS], tmp_path, "net")
    assert [path.name for path in written] == ["net.report.html", "net.report.md", "net.report.json", "net.report.xml"]
    assert json.loads(written[2].read_text(encoding="utf-8")) == report
    assert len(written[1].read_text(encoding="utf-8")) < 65_536


def test_targets_are_checked_before_any_work(tmp_path: Path) -> None:
    assert target("html") == Target("html")
    assert target(f"md={tmp_path}/a.md") == Target("md", tmp_path / "a.md")
    for wrong in ("pdf", "html=", f"html={tmp_path}", f"html={tmp_path}/no/a.html"):
        with pytest.raises(ValueError, match="--report"):
            target(wrong)


def test_the_matrix_has_a_row_for_each_model_and_device() -> None:
    page = page_of(all_reports()["matrix"])
    (section,) = page.sections
    bars, table = section.blocks
    assert len(table.rows) == len(page.cases) == 2  # pyright: ignore
    assert [row[-3] for row in table.rows] == ["2", "1"]  # pyright: ignore
    assert all(bar.value > 0 for bar in bars.rows)  # pyright: ignore
