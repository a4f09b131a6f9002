"""The page of a profile: its verdict, its sections, and what could not run."""

import copy
from typing import Any

import pytest
from fuseport.export.page.blocks import Bars, Facts, Fold, Page, Spreads, Strip, Table, Text, Treemap
from fuseport.export.page.source import NotAReport, page_of
from profile_samples import profile_form


def page(**verdict: Any) -> Page:
    form = profile_form()
    form["verdict"].update(verdict)
    return page_of(form)


def section(found: Page, title: str) -> Any:
    return next(section for section in found.sections if section.title == title)


def test_the_winner_is_the_verdict():
    found = page()
    assert (found.verdict, found.tone) == ("fastest: small.onnx, ONNX Runtime CPU", "good")
    assert [fact.value for fact in found.facts] == ["3.99 ms", "8.98 ms"]


@pytest.mark.parametrize(
    ("outcome", "verdict", "tone"),
    [
        ("unreliable", "UNRELIABLE", "unsure"),
        ("no winner", "no winner", "plain"),
        ("nothing to compare", "measured", "plain"),
    ],
)
def test_there_is_not_always_a_winner(outcome: str, verdict: str, tone: str):
    found = page(outcome=outcome, winner=None)
    assert (found.verdict, found.tone) == (verdict, tone)


def test_every_section_shows_what_was_found():
    found = page()
    speed = section(found, "How fast is each?").blocks
    (spreads,) = [block for block in speed if isinstance(block, Spreads)]
    assert [len(row.samples) for row in spreads.rows] == [40, 40]
    beside = next(block for block in speed if isinstance(block, Table))
    assert beside.rows[1][-1] == "2.25"
    (bars,) = [block for block in section(found, "How many pictures per second?").blocks if isinstance(block, Bars)]
    assert [bar.label for bar in bars.rows] == ["batch 1", "batch 1", "batch 8"]
    where = section(found, "Where does the time go?").blocks
    (areas,) = [block for block in where if isinstance(block, Treemap)]
    assert dict(areas.measures[0].amounts) == {"stem.conv": 2000, "head": 1000, "(no module)": 500}
    assert [block.title for block in where if isinstance(block, Fold)] == [
        "By operator type",
        "The slowest 3 operators",
    ]
    (share,) = section(found, "How far from what the machine can do?").blocks[0].rows
    assert (share.text, share.value) == ("25.0%", 0.25)
    (strip,) = [block for block in section(found, "Where would Core ML run it?").blocks if isinstance(block, Strip)]
    assert [(step.name, step.unit, step.share) for step in strip.steps] == [("c", "ane", 0.9), ("t", "cpu", None)]
    (facts,) = section(found, "Under which conditions?").blocks
    assert isinstance(facts, Facts)
    assert {"machine", "load average", "stops", "inputs", "torch"} <= {name for name, _ in facts.rows}


def test_what_could_not_run_is_said_where_it_is_missing():
    found = page()
    told = {
        title: [
            block.text for block in section(found, title).blocks if isinstance(block, Text) and block.tone == "unsure"
        ]
        for title in ("How fast is each?", "How many pictures per second?", "How much memory?")
    }
    assert told["How fast is each?"] == ["small.mlpackage, Core ML, all compute units: Core ML prediction needs macOS"]
    assert any("batch of 1 alone, not 8" in text for text in told["How many pictures per second?"])
    assert any("want of memory" in text for text in told["How much memory?"])
    everything = [block.text for one in found.sections for block in one.blocks if isinstance(block, Text)]
    assert sum("needs macOS" in text for text in everything) == 1, "each reason once"
    assert [case.outcome for case in found.cases] == ["passed", "passed", "skipped"]


def test_a_restless_batch_size_is_marked():
    form = profile_form()
    form["entrants"][0]["throughput"][0]["latency"]["spread"] = 0.4
    (bars, *_) = section(page_of(form), "How many pictures per second?").blocks
    assert [bar.tone for bar in bars.rows] == ["unsure", "plain", "plain"]
    assert "unreliable: half of the samples spread over 40.0%" in bars.rows[0].detail


def test_a_plain_run_has_the_two_sections_that_every_run_has():
    form = profile_form()
    form["roofline"] = None
    for entrant in form["entrants"]:
        entrant.update(throughput=[], memory=None, operators=None, placement=None, work=None, roofline=None)
    assert [one.title for one in page_of(form).sections] == ["How fast is each?", "Under which conditions?"]


def test_where_nothing_ran_the_page_says_so():
    form = profile_form()
    form["entrants"] = form["entrants"][2:]
    form["verdict"] = {"outcome": "nothing to compare", "winner": None, "reason": "nothing ran"}
    found = page_of(form)
    assert (found.verdict, found.tone, found.facts) == ("nothing ran", "bad", ())


@pytest.mark.parametrize("key", ["conditions", "entrants", "verdict", "roofline"])
def test_a_report_with_a_part_missing_is_refused(key: str):
    form = copy.deepcopy(profile_form())
    del form[key]
    with pytest.raises(NotAReport, match=f"not in the form fuseport.profile/1 .KeyError: '{key}'"):
        page_of(form)
