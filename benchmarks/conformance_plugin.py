"""A pytest plugin that runs coremltools' own operator tests with our executor in the place of Core ML.

The tests are those in the coremltools wheel; nothing of them is copied. Off macOS they build and save a model and then
return without predicting. The plugin makes coremltools believe that it is on macOS and lets `fuseport.mil` predict, so
the expected values that Apple wrote down are compared with ours.

`conformance.py` beside this file starts it. `--conformance-sample N` keeps N evenly spaced cases of each test function
(0.25: one case of every fourth function), `--conformance-out FILE` writes counts, operators seen, and every failure
with its reason, `--conformance-journal FILE` notes each test as it ends: a later run with the same file leaves out the
tests that passed in it and counts them in. Some of the tests need scipy.
"""

from __future__ import annotations

import gc
import json
import platform
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

STACK = ExitStack()
PREDICTED: list[Any] = []
"""Models that predicted in the running test."""
RECORDS: dict[str, dict[str, Any]] = {}
"""Each test that ran, here or in the journal, by its name."""

EXPLAINED: tuple[tuple[str, str, str], ...] = (
    (
        "",
        "is a 'neuralNetwork' model",
        "no ML Program: the test predicts with the older format whatever target is asked",
    ),
    (
        "iOS15/test_image_resizing.py::TestCropResize::test_builder_to_backend_smoke",
        "",
        "a normalised box that ends before it begins and outside the image: undefined in the documentation; "
        "Core ML answers with the whole image, we with the padding value",
    ),
    (
        "test_scatter_gather.py",
        "DID NOT RAISE",
        "the test asserts that Core ML's answer to an index outside the axis differs from the expected one",
    ),
    (
        "test_scatter_gather.py",
        "Not equal to tolerance",
        "an index outside the axis without validate_indices: undefined in the documentation",
    ),
    (
        "TestLSTMWithPackedSequence",
        "must match the size of tensor",
        "the converter takes the lengths of the packed sequences for their batch sizes: the initial state has 10 rows, "
        "as the first sequence has steps, for 3 sequences; we refuse what Core ML takes",
    ),
    (
        "TestStack::test_stack_dynamic_range_dim",
        "DID NOT RAISE",
        "the test asserts that Core ML refuses to stack inputs of a flexible shape; the executor stacks them",
    ),
)
"""(part of the test's name, part of its message, why the failure is expected)."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--conformance-sample", type=float, default=0, help="cases per test function; 0 is all")
    parser.addoption("--conformance-out", default=None, help="write the result table as JSON")
    parser.addoption("--conformance-journal", default=None, help="note each test's result; resume from what is there")


def pytest_configure(config: pytest.Config) -> None:
    """Put our executor in the place of the framework, and say that this is macOS on Apple silicon."""
    import coremltools._deps as deps
    import coremltools.converters.mil.testing_utils as testing
    import coremltools.models.model as model
    import coremltools.models.utils as utils
    from fuseport.mil.drop_in import drop_in, replaced

    config.addinivalue_line("markers", "slow: unused here")
    STACK.enter_context(drop_in(observer=PREDICTED.append))
    for module in (model, utils):
        STACK.enter_context(replaced(module, "_is_macos", lambda: True))
        STACK.enter_context(replaced(module, "_macos_version", lambda: (15, 9)))
    STACK.enter_context(replaced(testing, "_IS_MACOS", True))
    STACK.enter_context(replaced(deps, "_IS_MACOS", True))
    STACK.enter_context(replaced(platform, "machine", lambda: "arm64"))
    journal = config.getoption("--conformance-journal")
    if journal and Path(journal).exists():
        RECORDS.update({r["test"]: r for r in map(json.loads, Path(journal).read_text().splitlines())})


def pytest_unconfigure() -> None:
    STACK.close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep an even sample of each test function's cases, without those that the journal has as passed."""
    wanted = config.getoption("--conformance-sample")
    kept = _sample(items, wanted) if wanted else items
    passed = {name for name, record in RECORDS.items() if record["outcome"] == "passed"}
    chosen = {item for item in kept if item.nodeid not in passed}
    config.hook.pytest_deselected(items=[i for i in items if i not in chosen])
    items[:] = [i for i in items if i in chosen]
    _keep_out_of_collections()


def _keep_out_of_collections() -> None:
    """Spare coremltools, which collects garbage after each conversion, what stays: the imports cost 0.2 s each time."""
    gc.collect()
    gc.freeze()


def _sample(items: list[pytest.Item], wanted: float) -> list[pytest.Item]:
    groups: dict[tuple[object, ...], list[pytest.Item]] = {}
    for item in items:
        key = (item.path, getattr(item, "cls", None), getattr(item, "originalname", item.name))
        groups.setdefault(key, []).append(item)
    kept: list[pytest.Item] = []
    for cases in list(groups.values())[:: max(1, round(1 / wanted))]:
        count = min(max(1, int(wanted)), len(cases))
        kept += [cases[i * len(cases) // count] for i in range(count)]
    return kept


def pytest_runtest_setup(item: pytest.Item) -> None:
    PREDICTED.clear()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note the outcome of one test, the operators that it executed, and why it failed."""
    if report.when != "call":
        return
    record: dict[str, Any] = {
        "test": report.nodeid,
        "executed": "executed" if PREDICTED else "not executed",
        "outcome": report.outcome,
        "operators": Counter(o.type for m in PREDICTED for o in m.function.block.walk() if o.type != "const"),
    }
    if report.failed:
        record["message"] = _message(report)
    RECORDS[report.nodeid] = record


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    if len(RECORDS) % 100 == 0:
        _keep_out_of_collections()
    journal = item.config.getoption("--conformance-journal")
    if journal and item.nodeid in RECORDS:
        with Path(journal).open("a") as file:
            file.write(json.dumps(RECORDS[item.nodeid]) + "\n")


def _message(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return (crash.message if crash else str(report.longrepr)).strip()[:400]


def _reason(test: str, message: str) -> str:
    return next((why for name, text, why in EXPLAINED if name in test and text in message), "not explained")


def _table() -> dict[str, Any]:
    """Counts of the outcomes, operators executed, and every failure with its reason."""
    outcomes = Counter(f"{r['executed']}, {r['outcome']}" for r in RECORDS.values())
    operators: Counter[str] = Counter()
    for record in RECORDS.values():
        operators.update(record["operators"])
    failures = [
        {
            "test": r["test"],
            "executed": r["executed"],
            "reason": _reason(r["test"], r["message"]),
            "message": r["message"],
        }
        for r in RECORDS.values()
        if r["outcome"] == "failed"
    ]
    return {"outcomes": dict(outcomes), "operators": dict(operators.most_common()), "failures": failures}


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    table = _table()
    terminalreporter.write_line(f"conformance: {table['outcomes']}, {len(table['operators'])} operator types")
    out = config.getoption("--conformance-out")
    if out:
        Path(out).write_text(json.dumps(table, indent=1) + "\n")
