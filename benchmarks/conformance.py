"""Runs coremltools' own tests against our executor and writes the table of results.

    python benchmarks/conformance.py --sample 10                 # operators, some minutes on one core
    python benchmarks/conformance.py --journal ops.jsonl         # operators, all of them; can be stopped and resumed
    python benchmarks/conformance.py --suite torch --sample 2    # the PyTorch frontend's tests (TorchScript)

The frontend of coremltools 9.0 does not convert some of its own tests under numpy 2.4; numpy 2.3 lets more of them run.

Each run adds or replaces its suite in conformance.json beside this file and rewrites conformance.md from it. A case
counts as executed when the executor was asked for a prediction; the others only build or convert a model.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SUITES = {
    "operators": "coremltools.converters.mil.mil.ops.tests",
    "torch": "coremltools.converters.mil.frontend.torch.test.test_torch_ops",
}


def run(suite: str, sample: float, select: str | None, journal: str | None) -> dict[str, Any]:
    """Run one suite in a process of its own and return what the plugin counted."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "table.json")
        command = [
            *(sys.executable, "-m", "pytest", "-q", "-W", "ignore", "-c", os.devnull),
            *("--rootdir", folder, "-p", "benchmarks.conformance_plugin", "-p", "no:cacheprovider", "--tb=no"),
            *("--conformance-sample", f"{sample:g}", "--conformance-out", str(out)),
            *(("-k", select) if select else ()),
            *(("--conformance-journal", str(Path(journal).resolve())) if journal else ()),
            *("--pyargs", SUITES[suite]),
        ]
        path = os.pathsep.join(filter(None, (str(HERE.parent), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "PYMIL_TEST_TARGETS": "mlprogram", "PYTHONPATH": path}
        began = time.perf_counter()
        subprocess.run(command, env=environment, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        table = json.loads(out.read_text())
        if not journal:  # else this is the time of the last leg
            table["seconds"] = round(time.perf_counter() - began)
    table["sample"] = sample
    table["versions"] = {name: version(name) for name in ("coremltools", "torch", "numpy")}
    table["python"] = platform.python_version()
    return table


def markdown(tables: dict[str, Any]) -> str:
    """The tables as text: counts, and every failure of an executed or executable case with its reason."""
    lines = ["# coremltools' own tests against `fuseport.mil`", ""]
    lines += ["`python benchmarks/conformance.py --suite SUITE --sample N` writes this file; 0 is every case.", ""]
    lines += [
        "| suite | cases per test function | executed | passed | failed | of these not explained | operator types |"
    ]
    lines += ["| --- | --- | --- | --- | --- | --- | --- |"]
    for name, table in tables.items():
        counts = table["outcomes"]
        passed, failed = counts.get("executed, passed", 0), counts.get("executed, failed", 0)
        open_ = sum(f["reason"] == "not explained" and f["executed"] == "executed" for f in table["failures"])
        sample = f"{table['sample']:g}" if table["sample"] else "all"
        lines.append(
            f"| {name} | {sample} | {passed + failed} | {passed} | {failed} | {open_} | {len(table['operators'])} |"
        )
    for name, table in tables.items():
        lines += ["", f"## {name}", ""]
        versions = ", ".join(f"{k} {v}" for k, v in table["versions"].items())
        took = f", {table['seconds']} s" if "seconds" in table else ""
        lines += [f"Python {table['python']}, {versions}{took}. Outcomes: {table['outcomes']}.", ""]
        lines += _failures(table["failures"])
    return "\n".join(lines) + "\n"


def _failures(failures: list[dict[str, str]]) -> list[str]:
    """One line per test function, kind and reason."""
    grouped: Counter[tuple[str, str, str]] = Counter()
    for failure in failures:
        reason = failure["reason"]
        if reason == "not explained" and failure["executed"] != "executed":
            reason = "does not convert here: " + " ".join(failure["message"].split())[:110]
        elif reason == "not explained":
            reason = "not explained: " + " ".join(failure["message"].split())[:160]
        grouped[failure["test"].split("[")[0], failure["executed"], reason.replace("|", "/")] += 1
    if not grouped:
        return ["No failure."]
    rows = [f"| {test} | {kind} | {count} | {reason} |" for (test, kind, reason), count in grouped.items()]
    return ["| failing test | | cases | reason |", "| --- | --- | --- | --- |", *rows]


def main() -> None:
    parser = argparse.ArgumentParser(description="coremltools' own tests against our executor")
    parser.add_argument("--suite", choices=SUITES, default="operators")
    parser.add_argument("--sample", type=float, default=0, help="cases per test function; 0 is all")
    parser.add_argument("--select", help="pytest's -k expression")
    parser.add_argument("--journal", help="note each result in this file; started again, go on from there")
    asked = parser.parse_args()
    store = HERE / "conformance.json"
    tables = json.loads(store.read_text()) if store.exists() else {}
    tables[asked.suite] = run(asked.suite, asked.sample, asked.select, asked.journal)
    store.write_text(json.dumps(tables, indent=1) + "\n")
    (HERE / "conformance.md").write_text(markdown(tables))
    print(markdown(tables))


if __name__ == "__main__":
    main()
