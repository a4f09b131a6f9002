"""A pytest plugin that runs coremltools' own operator tests with our executor in the place of Core ML.

The tests are those in the coremltools wheel; nothing of them is copied. Off macOS they build and save a model and then
return without predicting. The plugin makes coremltools believe that it is on macOS and lets `fuseport.mil` predict, so
the expected values that Apple wrote down are compared with ours.

`conformance.py` beside this file starts it. `--conformance-sample N` keeps N evenly spaced cases of each test function
(0.25: one case of every fourth function), `--conformance-out FILE` writes counts, operators seen, and every failure
with its reason. Some of the tests need scipy.
"""

from __future__ import annotations

import json
import platform
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

STACK = ExitStack()
OUTCOMES: Counter[str] = Counter()
OPERATORS: Counter[str] = Counter()
FAILURES: list[dict[str, str]] = []
PREDICTED: list[object] = []
"""Models that predicted in the running test."""

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
        "TestStack::test_stack_dynamic_range_dim",
        "DID NOT RAISE",
        "the test asserts that Core ML refuses to stack inputs of a flexible shape; the executor stacks them",
    ),
)
"""(part of the test's name, part of its message, why the failure is expected)."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--conformance-sample", type=float, default=0, help="cases per test function; 0 is all")
    parser.addoption("--conformance-out", default=None, help="write the result table as JSON")


def pytest_configure(config: pytest.Config) -> None:
    """Put our executor in the place of the framework, and say that this is macOS on Apple silicon."""
    import coremltools._deps as deps
    import coremltools.converters.mil.testing_utils as testing
    import coremltools.models.model as model
    import coremltools.models.utils as utils
    from fuseport.mil.drop_in import drop_in, replaced

    config.addinivalue_line("markers", "slow: unused here")
    STACK.enter_context(drop_in(observer=_observe))
    for module in (model, utils):
        STACK.enter_context(replaced(module, "_is_macos", lambda: True))
        STACK.enter_context(replaced(module, "_macos_version", lambda: (15, 9)))
    STACK.enter_context(replaced(testing, "_IS_MACOS", True))
    STACK.enter_context(replaced(deps, "_IS_MACOS", True))
    STACK.enter_context(replaced(platform, "machine", lambda: "arm64"))


def pytest_unconfigure() -> None:
    STACK.close()


def _observe(model: Any) -> None:
    PREDICTED.append(model)
    OPERATORS.update({o.type for o in model.function.block.walk()} - {"const"})


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep an even sample of each test function's cases."""
    wanted = config.getoption("--conformance-sample")
    if not wanted:
        return
    groups: dict[tuple[object, ...], list[pytest.Item]] = {}
    for item in items:
        key = (item.path, getattr(item, "cls", None), getattr(item, "originalname", item.name))
        groups.setdefault(key, []).append(item)
    kept: list[pytest.Item] = []
    chosen_groups = list(groups.values())[:: max(1, round(1 / wanted))]
    for cases in chosen_groups:
        count = min(max(1, int(wanted)), len(cases))
        kept += [cases[i * len(cases) // count] for i in range(count)]
    chosen = set(kept)
    config.hook.pytest_deselected(items=[i for i in items if i not in chosen])
    items[:] = kept


def pytest_runtest_setup(item: pytest.Item) -> None:
    PREDICTED.clear()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when != "call":
        return
    executed = "executed" if PREDICTED else "not executed"
    OUTCOMES[f"{executed}, {report.outcome}"] += 1
    if report.failed:
        message = _message(report)
        reasons = [why for name, text, why in EXPLAINED if name in report.nodeid and text in message]
        reason = reasons[0] if reasons else "not explained"
        FAILURES.append({"test": report.nodeid, "executed": executed, "reason": reason, "message": message})


def _message(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return (crash.message if crash else str(report.longrepr)).strip()[:400]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    terminalreporter.write_line(f"conformance: {dict(OUTCOMES)}, {len(OPERATORS)} operator types")
    out = config.getoption("--conformance-out")
    if out:
        table = {"outcomes": dict(OUTCOMES), "operators": dict(OPERATORS.most_common()), "failures": FAILURES}
        Path(out).write_text(json.dumps(table, indent=1) + "\n")
