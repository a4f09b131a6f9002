"""JUnit and Markdown: counted right, and safe whatever a foreign report calls itself."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from fuseport.validate.xcode.gate import FAIL, NOISY, PASS, Verdict
from fuseport.validate.xcode.verdicts import junit, markdown

TITLE = 'net <b> | `x` & "y" on iPhone'
VERDICTS = {
    TITLE: [
        Verdict("predict<=16ms", PASS, "3 ms", "time"),
        Verdict("ane.share>=0.9", FAIL, "12%", "share"),
        Verdict("load.uncached<=2s", NOISY, "1.9 s", "time"),
    ]
}


@pytest.mark.parametrize(("allow", "failures", "skipped"), [(False, "2", "0"), (True, "1", "1")])
def test_junit(allow: bool, failures: str, skipped: str) -> None:
    root = ElementTree.fromstring(junit(VERDICTS, allow_noisy=allow))
    (suite,) = root
    assert (suite.get("name"), suite.get("tests")) == (TITLE, "3")
    assert (suite.get("failures"), suite.get("skipped")) == (failures, skipped)
    assert len(root.findall(".//failure")) == int(failures)
    assert len(root.findall(".//skipped")) == int(skipped)
    assert [case.get("name") for case in suite] == ["predict<=16ms", "ane.share>=0.9", "load.uncached<=2s"]


def test_markdown() -> None:
    text = markdown(VERDICTS)
    assert text.startswith('### net \\<b\\> \\| \\`x\\` \\& "y" on iPhone\n')
    assert [line.split(" | ")[0] for line in text.splitlines()[4:]] == ["| ✅ pass", "| ❌ fail", "| ⚠️ too noisy"]
    assert all(line.replace("\\|", "").count("|") == 4 for line in text.splitlines()[2:])
