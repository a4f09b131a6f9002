"""The figures of the two samples, exactly, and what happens to everything that a report should not hold."""

from __future__ import annotations

import json

import pytest
from fuseport.validate.xcode import ReportError
from fuseport.validate.xcode.estimate import by_operation, operation_seconds
from fuseport.validate.xcode.placement import place
from fuseport.validate.xcode.stage import iteration_medians, spread, statistics
from xcode_samples import EXPECTED, MAC, PHONE, dispatched, phone, read

SAMPLES = {"tinynet-Demo Phone.mlperf/report.json": PHONE, "tinynet-mac-cpu-only.report.json": MAC}
STAGES = {"predict": "predict", "load_uncached": "load.uncached", "load_cached": "load.cached"} | {
    "load_all": "load.all",
    "compile": "compile",
}
NAMES = {"median_ms": "median", "mean_ms": "mean", "min_ms": "min", "max_ms": "max"} | {
    "stdev_population_ms": "stdev",
    "p95_linear_ms": "p95",
}
UNITS = {"neuralEngine": "ane", "cpu": "cpu"}


@pytest.mark.parametrize("name", SAMPLES)
def test_timings_are_the_expected_ones(name: str) -> None:
    expected, report = EXPECTED[name], read(SAMPLES[name].read_bytes())
    for key, stage in STAGES.items():
        found = statistics(report.stages[stage])
        assert report.stages[stage].n == expected[key]["n"]
        assert {k: round(found[ours] * 1e3, 6) for k, ours in NAMES.items()} == {k: expected[key][k] for k in NAMES}
    assert round(statistics(report.stages["predict"])["first"] * 1e3, 6) == expected["predict_first_ms"]


@pytest.mark.parametrize("name", SAMPLES)
def test_operations_are_the_expected_ones(name: str) -> None:
    expected, report = EXPECTED[name], read(SAMPLES[name].read_bytes())
    placement = place(report)
    assert placement is not None
    placed = {unit.unit: unit for unit in placement.units if unit.placed}
    assert report.listed == expected["operations_listed"]
    assert len(report.operations) == expected["operations_with_cost"]
    assert {u: placed[UNITS[u]].placed for u in expected["ops_by_preferred_device"]} == expected[
        "ops_by_preferred_device"
    ]
    assert placement.weight_total == pytest.approx(expected["weight_total"], abs=1e-9)
    for unit, share in expected["weight_share_by_preferred_device"].items():
        assert placed[UNITS[unit]].placed_share == pytest.approx(share, abs=5e-10)


@pytest.mark.parametrize("name", SAMPLES)
def test_estimated_times_are_the_expected_ones(name: str) -> None:
    report = read(SAMPLES[name].read_bytes())
    seconds = dict(zip((op.name for op in report.operations), operation_seconds(report), strict=True))
    operations = {op.name: op for op in report.operations}
    for row, (output, operator, share, microseconds) in zip(
        by_operation(report), EXPECTED[name]["top3_by_weight"], strict=False
    ):
        assert row.key == f"{output} ({operations[output].type})"
        assert f"{operations[output].opset}.{operations[output].type}" == operator
        assert row.share == pytest.approx(share, abs=5e-10)
        assert round((seconds[output] or 0) * 1e6, 3) == microseconds


def test_who_and_where() -> None:
    report = read(PHONE.read_bytes())
    assert (report.device.model, report.device.os, report.device.kind) == ("iPhone 16 Pro", "iOS 26.5.2", "iPhone")
    assert report.device.units == ("ane", "gpu", "cpu")
    assert (report.model.name, report.model.bytes, report.model.export_id) == ("tinynet", 16126, "demo-0001")
    assert report.model.inputs[0].shape == (1, 3, 64, 64)
    assert report.model.versions == {"coremltools": "9.0", "source": "torch==2.14.1+cu130"}
    assert report.ran_at == "2026-09-02T00:00:02+00:00"  # 810000002.439 s after 2001-01-01
    assert report.warnings == ()
    assert "Xcode version" in report.unknowns


def test_iterations() -> None:
    stage = read(PHONE.read_bytes()).stages["predict"]
    medians = iteration_medians(stage)
    assert [round(m * 1e6, 1) for m in medians] == [440.9, 436.7, 433.4]
    assert spread(stage) == pytest.approx(max(medians) / min(medians) - 1)


def test_repeat_counts_are_no_operation_counts() -> None:
    document = phone()
    document["deviceResults"]["predict"]["numOperations"] = 999
    assert len(read(document).operations) == 15


@pytest.mark.parametrize(("setting", "words", "allowed"), [
    (0, "CPU only", ("cpu",)),
    (1, "CPU and GPU", ("cpu", "gpu")),
    (2, "All", ("cpu", "gpu", "ane")),
    (3, "CPU and Neural Engine", ("cpu", "ane")),
    (7, "unknown (7)", None),
    (True, "unknown (True)", None),
])  # fmt: skip
def test_compute_units(setting: object, words: str, allowed: object) -> None:
    report = read(phone() | {"computeUnit": setting})
    assert (report.config.units, report.config.allowed) == (words, allowed)
    assert bool(report.warnings) == (allowed is None)


def test_what_is_not_known_is_one_warning() -> None:
    warnings = read(MAC.read_bytes()).warnings
    unknown = [w for w in warnings if w.startswith("not known from other reports")]
    assert unknown == [
        "not known from other reports, read as far as understood: deviceResultVersion 5 (known: 4); key somethingNew"
    ]
    assert any("97 samples where 3 × 40 were planned" in w for w in warnings)
    assert any("sum to 0.98" in w for w in warnings)
    assert any("counts 15 operations, the report places 16" in w for w in warnings)


def test_every_unknown_key_is_named_once() -> None:
    document = phone() | {"later": 1}
    document["deviceInfo"]["colour"] = "blue"
    document["deviceResults"]["predict"]["power"] = [1]
    for operation in dispatched(document):
        operation["energy"] = 1
    (warning,) = read(document).warnings
    for word in ("key later", "key deviceInfo.colour", "key predict.power", "operation key energy"):
        assert warning.count(word) == 1


def test_loads_that_do_not_fit_the_plan_are_not_split() -> None:
    document = phone()
    document["deviceResults"]["load"]["samples"].pop()
    report = read(document)
    assert set(report.stages) == {"compile", "load.all", "predict"}
    assert any("not told apart" in warning for warning in report.warnings)


def test_a_plan_of_one_load_has_no_cached_loads() -> None:
    document = phone()
    document["deviceResults"]["perfRunConfig"]["loadCount"] = 1
    document["deviceResults"]["load"]["samples"] = [0.5, 0.6, 0.7]
    report = read(document)
    assert report.stages["load.uncached"].samples == (0.5, 0.6, 0.7)
    assert "load.cached" not in report.stages


def test_missing_parts_are_missing() -> None:
    document = phone()
    for key in ("deviceInfo", "modelMetadata", "computeUnit"):
        del document[key]
    for key in ("modelStructure", "load", "perfRunConfig", "availableComputeDevices"):
        del document["deviceResults"][key]
    report = read(document)
    assert (report.device.model, report.model.name, report.config.units) == (None, None, None)
    assert report.operations == ()
    assert set(report.stages) == {"compile", "predict"}
    assert "load: the file has no samples" in report.warnings


def test_identifiers_only_when_asked() -> None:
    assert not read(PHONE.read_bytes()).device.identifiers
    kept = read(PHONE.read_bytes(), keep_identifiers=True).device.identifiers
    assert kept["displayName"] == "Demo Phone"
    assert set(kept) == {"displayName", "serialNumber", "deviceID", "modelUrl"}


@pytest.mark.parametrize(("path", "value", "message"), [
    (("deviceResults", "predict", "samples"), "fast", "predict.samples: expected an array, found str 'fast'"),
    (("deviceResults", "predict", "samples"), [0.1, None], "predict.samples[1]: expected a number, found None"),
    (("deviceResults", "predict", "samples"), [0.1, -1.0], "predict.samples[1]: expected a number from 0 to 1e+07"),
    (("deviceResults", "predict", "samples"), [0.1, 10**400], "predict.samples[1]: expected a number from 0"),
    (("deviceResults", "predict", "startTime"), [], "predict.startTime: expected a number, found an array"),
    (("deviceResults", "perfRunConfig", "loadCount"), -3, "perfRunConfig.loadCount: expected a whole number"),
    (("deviceResults", "compile"), [], "compile: expected an object, found an array"),
    (("deviceResults", "modelStructure"), "none", "modelStructure: expected an object, found str 'none'"),
    (("modelMetadata", "size"), 1.5, "modelMetadata.size: expected a whole number, zero or more, found float 1.5"),
    (("deviceInfo",), 3, "deviceInfo: expected an object, found int 3"),
])  # fmt: skip
def test_wrong_types_are_refused_by_name(path: tuple[str, ...], value: object, message: str) -> None:
    document = phone()
    part = document
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    with pytest.raises(ReportError) as caught:
        read(document)
    assert str(caught.value).startswith(f"report.json: {message}")
    assert "\n" not in str(caught.value)


def test_control_characters_do_not_reach_a_terminal() -> None:
    document = phone()
    document["deviceInfo"]["modelName"] = "iPhone\x1b[2J\u202e\ud800\n16"
    assert read(document).device.model == "iPhone\ufffd[2J\ufffd\ufffd\ufffd16"


def test_a_report_without_figures_is_refused() -> None:
    with pytest.raises(ReportError, match="without any timing or operation"):
        read(json.dumps({"jsonVersion": 1, "deviceResults": {}}).encode())
