"""Verdicts for machines and for pull requests: JUnit XML, and a Markdown table.

Every text in them may come out of a foreign file, so both writers escape: XML through the standard library's tree,
Markdown by taking the meaning from its special characters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

from .gate import FAIL, NOISY, PASS, Verdict

MARKS = {PASS: "✅ pass", FAIL: "❌ fail", NOISY: "⚠️ too noisy"}
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~@&])")


def junit(verdicts: Mapping[str, Sequence[Verdict]], *, allow_noisy: bool = False) -> str:
    """One test suite per report, one case per verdict. "Too noisy" is a failure, or skipped with `allow_noisy`."""
    root = ElementTree.Element("testsuites", name="fuseport xcode gate")
    for title, cases in verdicts.items():
        noisy = sum(v.outcome == NOISY for v in cases)
        failures = sum(v.outcome == FAIL for v in cases) + (0 if allow_noisy else noisy)
        suite = ElementTree.SubElement(root, "testsuite", name=title, tests=str(len(cases)))
        suite.set("failures", str(failures))
        suite.set("skipped", str(noisy if allow_noisy else 0))
        for verdict in cases:
            case = ElementTree.SubElement(suite, "testcase", classname=title, name=verdict.rule)
            if verdict.outcome == NOISY and allow_noisy:
                ElementTree.SubElement(case, "skipped", message=f"too noisy: {verdict.reason}")
            elif verdict.outcome != PASS:
                ElementTree.SubElement(case, "failure", type=verdict.outcome.replace(" ", "-"), message=verdict.reason)
            else:
                ElementTree.SubElement(case, "system-out").text = verdict.reason
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def markdown(verdicts: Mapping[str, Sequence[Verdict]]) -> str:
    """One table per report, for a comment on a pull request."""
    parts = []
    for title, cases in verdicts.items():
        rows = [f"| {MARKS[v.outcome]} | {escape(v.rule)} | {escape(v.reason)} |" for v in cases]
        parts.append(
            "\n".join((f"### {escape(title)}", "", "| verdict | rule | measured |", "|---|---|---|", *rows, ""))
        )
    return "\n".join(parts)


def escape(text: str) -> str:
    """The text on one line, with Markdown's special characters as themselves."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
