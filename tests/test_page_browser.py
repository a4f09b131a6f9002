"""The page in a real browser: it fetches nothing, complains of nothing, fits a phone, and answers to the keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, browser, find_browser
from fuseport.export.page.write import render
from page_samples import all_reports, poisoned

pytestmark = pytest.mark.skipif(find_browser() is None, reason="needs Chromium on the PATH")

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
OPEN_ALL = "document.querySelectorAll('details').forEach(one => one.open = true)"
BACKGROUND = "getComputedStyle(document.documentElement).backgroundColor"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


def test_no_request_no_complaint_no_overflow(chromium: Browser, tmp_path: Path) -> None:
    for kind, report in all_reports().items():
        page = tmp_path / f"{kind}.html"
        page.write_text(render(poisoned(report), "html"), encoding="utf-8")
        for width in (390, 1280):
            chromium.open(page, width=width)
            chromium.value(OPEN_ALL)
            assert chromium.value(OVERFLOW) <= 0, f"{kind} at {width}"
            assert chromium.requests == [page.as_uri()]
            assert chromium.complaints == []
            assert "owned" not in chromium.value("document.title").partition("</style>")[0]
            assert chromium.value("document.scripts.length") == 0


def test_an_overflow_and_a_request_are_found(chromium: Browser, tmp_path: Path) -> None:
    page = tmp_path / "wide.html"
    page.write_text('<meta name="viewport" content="width=device-width"><img src="gone.png"><p style="width:900px">x')
    chromium.open(page, width=390)
    assert chromium.value(OVERFLOW) > 0
    assert len(chromium.requests) == 2
    assert chromium.complaints


def test_colours_follow_the_system_and_the_switch(chromium: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(render(all_reports()["export"], "html"), encoding="utf-8")
    seen = {}
    for dark in (False, True):
        chromium.open(page, width=1280, dark=dark)
        for choice in ("auto", "light", "dark"):
            chromium.value(f"document.getElementById('scheme-{choice}').checked = true")
            seen[dark, choice] = chromium.value(BACKGROUND)
    assert seen[False, "auto"] == seen[False, "light"] == seen[True, "light"]
    assert seen[True, "auto"] == seen[True, "dark"] == seen[False, "dark"] != seen[False, "light"]


def test_the_keyboard_reaches_everything_and_shows_where_it_is(chromium: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(render(all_reports()["export"], "html"), encoding="utf-8")
    chromium.open(page, width=1280)
    reached = []
    for _ in range(40):
        chromium.tab()
        reached.append(chromium.value("document.activeElement.tagName"))
        if reached[-1] == "SUMMARY":
            assert chromium.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert {"A", "INPUT", "SUMMARY"} <= set(reached)
    before = chromium.value("getComputedStyle(document.querySelectorAll('.panel')[1]).display")
    chromium.value("document.querySelectorAll('.switch input')[1].click()")
    after = chromium.value("getComputedStyle(document.querySelectorAll('.panel')[1]).display")
    assert (before, after) == ("none", "block")


def test_a_printed_page_is_dark_on_white_without_what_a_finger_needs(chromium: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(render(all_reports()["profile"], "html"), encoding="utf-8")
    shown = "getComputedStyle(document.querySelector('{}')).display != 'none'"
    ink = "getComputedStyle(document.body).color"
    chromium.open(page, width=1280, dark=True)
    chromium.value("document.getElementById('scheme-dark').checked = true")
    screen = chromium.value(BACKGROUND), chromium.value(ink)
    assert all(chromium.value(shown.format(part)) for part in ("nav", ".scheme", "section"))
    chromium.print_out(dark=True)
    assert chromium.value(BACKGROUND) == "rgb(255, 255, 255)"
    assert chromium.value(ink) == "rgb(27, 29, 33)"
    assert screen != ("rgb(255, 255, 255)", "rgb(27, 29, 33)")
    assert not any(chromium.value(shown.format(part)) for part in ("nav", ".scheme"))
    assert chromium.value(shown.format("section"))
    assert chromium.value(OVERFLOW) <= 0
