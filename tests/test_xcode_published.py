"""Published latencies beside imported ones, with everything that differs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fuseport.validate.xcode.join import Join, Match
from fuseport.validate.xcode.published import LATENCIES, beside, find
from fuseport.validate.xcode.report import Device, Feature, Report
from xcode_samples import PHONE, read


def named(name: str | None, **device: str) -> Report:
    report = read(PHONE.read_bytes())
    model = replace(report.model, name=name, inputs=(Feature("x", "", (1, 3, 224, 224)),))
    return replace(report, model=model, device=replace(report.device, **device))


@pytest.mark.parametrize(("name", "variant"), [
    ("swiftformer_l1", "swiftformer_l1"),
    ("SwiftFormer-L1", "swiftformer_l1"),
    ("swiftformer_s_fp16", "swiftformer_s"),
    ("swiftformer_l1x", None),
    ("swiftformer", None),
    ("shvit_s4", None),
    ("", None),
])  # fmt: skip
def test_variants_by_name(name: str, variant: str | None) -> None:
    found = find(name)
    assert (found and found.variant) == variant


def test_the_published_figures() -> None:
    assert {p.variant: p.milliseconds for p in LATENCIES} == {
        "swiftformer_xs": 0.7,
        "swiftformer_s": 0.8,
        "swiftformer_l1": 1.1,
        "swiftformer_l3": 1.9,
    }


def test_beside_with_all_differences() -> None:
    found = beside(named("swiftformer_xs"))
    assert found is not None
    assert found.ratio == pytest.approx(0.436962 / 0.7, rel=1e-5)
    text = "\n".join(found.differences)
    for words in (
        "median of 120 predictions here, not stated there",
        "Xcode 14 performance report there, an Xcode report of unknown version here",
        "device: iPhone 16 Pro here, iPhone 14 there",
        "OS: iOS 26.5.2 here, iOS 16 there",
        "setting All here, Neural Engine there",
        "taken from the model's name swiftformer_xs",
    ):
        assert words in text
    assert "input" not in text


def test_what_is_the_same_is_no_difference() -> None:
    join = Join(Match("exact", ()), "id", "swiftformer_xs", "r", (), (), ())
    found = beside(named("net", model="iPhone 14", os="iOS 16.5"), join)
    assert found is not None
    assert not [d for d in found.differences if d.startswith(("device", "OS", "input", "the variant"))]


def test_a_name_that_only_begins_alike_is_a_difference() -> None:
    found = beside(named("swiftformer_xs", model="iPhone 14 Pro", os="iOS 160"))
    assert found is not None
    assert {"device: iPhone 14 Pro here, iPhone 14 there", "OS: iOS 160 here, iOS 16 there"} <= set(found.differences)


def test_what_is_unknown_is_a_difference() -> None:
    report = replace(named("swiftformer_xs"), device=Device())
    found = beside(replace(report, model=replace(report.model, inputs=())))
    assert found is not None
    assert "device: unknown here, iPhone 14 there" in found.differences
    assert "input: unknown here, [1, 3, 224, 224] there" in found.differences


def test_nothing_published_or_nothing_measured() -> None:
    assert beside(named("tinynet")) is None
    assert beside(named(None)) is None
    assert beside(replace(named("swiftformer_xs"), stages={})) is None


def test_the_latencies_are_those_of_the_table_of_variants() -> None:
    """They stand here as well so that listing reports loads no torch; this keeps the two equal."""
    from fuseport.models import variants

    claimed = {
        name: claim.value
        for name, variant in variants().items()
        for claim in variant.claims
        if claim.what == "latency_ms"
    }
    assert {entry.variant: entry.milliseconds for entry in LATENCIES} == claimed
