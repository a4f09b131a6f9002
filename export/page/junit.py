"""A page's checks as JUnit XML, which build servers show: one suite per file and engine, one case per output.

The elements and attributes are those that Jenkins, GitLab and GitHub's reporters read: testsuites > testsuite >
(properties, testcase > (properties, skipped | failure | system-out)).
"""

from __future__ import annotations

from itertools import groupby
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from .blocks import Case, Page


def render(page: Page) -> str:
    """The checks as XML text."""
    root = Element("testsuites", {"name": f"fuseport {page.kind}: {page.title}"} | _counts(page.cases))
    for name, group in groupby(page.cases, key=lambda case: case.suite):
        _suite(root, name, page, tuple(group))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(root: Element, name: str, page: Page, cases: tuple[Case, ...]) -> None:
    suite = SubElement(root, "testsuite", {"name": name} | _counts(cases))
    told = (("verdict", page.verdict), ("reason", page.reason), ("about", page.subtitle), ("made by", page.footer))
    _properties(suite, told)
    for case in cases:
        _case(suite, case)


def _case(suite: Element, case: Case) -> None:
    made = SubElement(suite, "testcase", classname=case.suite, name=case.name, time="0")
    if case.figures:
        _properties(made, case.figures)
    if case.outcome == "failed":
        SubElement(made, "failure", type="failed", message=case.reason).text = case.reason
    elif case.outcome == "skipped":
        SubElement(made, "skipped", message=case.reason)
    else:
        SubElement(made, "system-out").text = case.reason


def _properties(parent: Element, pairs: tuple[tuple[str, str], ...]) -> None:
    holder = SubElement(parent, "properties")
    for name, value in pairs:
        SubElement(holder, "property", name=name, value=value)


def _counts(cases: tuple[Case, ...]) -> dict[str, str]:
    outcomes = [case.outcome for case in cases]
    counted = {"tests": len(cases), "failures": outcomes.count("failed"), "skipped": outcomes.count("skipped")}
    return {name: str(number) for name, number in (counted | {"errors": 0}).items()}
