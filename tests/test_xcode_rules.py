"""Rules: what they mean, what they measure, and what is wrong with the ones that mean nothing."""

from __future__ import annotations

import pytest
from fuseport.validate.xcode.rules import RuleError, measure, parse_part, parse_rule
from xcode_samples import MAC, PHONE, read


@pytest.mark.parametrize(("text", "metric", "limit", "kind"), [
    ("predict.p95<=16ms", "predict.p95", 0.016, "time"),
    ("load.uncached<=2s", "load.uncached", 2.0, "time"),
    ("load.cached.max < 500 us", "load.cached.max", 500e-6, "time"),
    ("predict < 900µs", "predict", 900e-6, "time"),
    ("ane.share>=0.9", "ane.share", 0.9, "share"),
    ("ane.share >= 90%", "ane.share", 0.9, "share"),
    ("gpu.eligible>0.5", "gpu.eligible", 0.5, "share"),
    ("cpu.operations==0", "cpu.operations", 0.0, "count"),
    ("switches<=4", "switches", 4.0, "count"),
    ("size<=12MB", "size", 12e6, "size"),
    ("size<1e1KiB", "size", 10240.0, "size"),
])  # fmt: skip
def test_rules(text: str, metric: str, limit: float, kind: str) -> None:
    rule = parse_rule(text)
    assert (rule.metric, rule.kind) == (metric, kind)
    assert rule.limit == pytest.approx(limit)


@pytest.mark.parametrize(("text", "message"), [
    ("", "expected METRIC"),
    ("predict.p95", "expected METRIC"),
    ("predict.p95<=", "expected METRIC"),
    ("predict.p95<=fast", "expected METRIC"),
    ("predict.p95=16ms", "expected METRIC"),
    ("predict.p95<=16", "a time takes s, ms, us, µs; found no unit"),
    ("predict.p95<=16MB", "a time takes s, ms, us, µs; found MB"),
    ("ane.share>=0.9ms", "a share takes no unit, %; found ms"),
    ("predict.p98<=16ms", "unknown metric 'predict.p98'"),
    ("predictp95<=16ms", "unknown metric"),
    ("speed>3", "unknown metric 'speed'; known: compile, load.uncached"),
    ("ane.shares>=0.9", "unknown metric"),
    ("<=3", "expected METRIC"),
    ("x" * 10_000, "expected METRIC"),
])  # fmt: skip
def test_rules_that_mean_nothing(text: str, message: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse_rule(text)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(("metric", "value"), [
    ("predict", 0.436962e-3),
    ("predict.p95", 0.45945e-3),
    ("load.uncached", 0.613386154),
    ("load.cached.mean", 12.199759e-3),
    ("compile.max", 60.875416e-3),
    ("ane.share", 0.944205281),
    ("ane.eligible", 1.0),
    ("cpu.operations", 2),
    ("operations", 15),
    ("switches", 1),
    ("size", 16126),
    ("warmup", None),
    ("npu.share", None),
])  # fmt: skip
def test_measures_of_the_phone(metric: str, value: float | None) -> None:
    assert measure(read(PHONE.read_bytes()), metric)[0] == pytest.approx(value, abs=1e-9)


def test_measures_that_a_report_does_not_have() -> None:
    text = read(b"Average inference time cost: 3.5 ms\n")
    for metric in ("ane.share", "switches", "size", "predict.median", "load.uncached"):
        assert measure(text, metric) == (None, None)
    assert measure(text, "predict.mean")[0] == pytest.approx(3.5e-3)
    assert measure(read(MAC.read_bytes()), "ane.share")[0] == 0


def test_times_have_noise_and_counts_do_not() -> None:
    report = read(PHONE.read_bytes())
    assert measure(report, "predict.p95")[1] is not None
    assert measure(report, "switches")[1] is None


@pytest.mark.parametrize(("text", "part"), [("5%", 0.05), ("0.5 %", 0.005), ("0.05", 0.05), ("250%", 2.5), ("0", 0.0)])
def test_percentages(text: str, part: float) -> None:
    assert parse_part(text) == pytest.approx(part)


@pytest.mark.parametrize("text", ["5", "", "-5%", "five", "5%%", "nan"])
def test_no_percentages(text: str) -> None:
    with pytest.raises(RuleError, match="expected a percentage, as in 5%"):
        parse_part(text)
