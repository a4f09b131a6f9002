"""Time to import a large Xcode report against `json.loads` on it, and to list and compare a large store.

    python benchmarks/xcode_import.py [--megabytes 20] [--reports 10000] [--repeats 5]

The large report is the sample of the tests with its operations repeated under new names. Import means all of it: read
the file, decode, check, compute the statistics and the placement, and write it to a new store. The store's figures are
those of whole commands in processes of their own, start of Python included. Bounds: 3 × json.loads, and 1 s.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

from fuseport.validate.xcode import find_documents, holds_report, read_report
from fuseport.validate.xcode.intake import Document
from fuseport.validate.xcode.store import Entry, add

SAMPLE = Path(__file__).parents[1] / "tests/samples/xcode/tinynet-Demo Phone.mlperf/report.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--reports", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        time_import(Path(folder), arguments.megabytes, arguments.repeats)
        time_store(Path(folder), arguments.reports, arguments.repeats)


def time_import(folder: Path, megabytes: float, repeats: int) -> None:
    path = folder / "large.json"
    path.write_bytes(large_report(megabytes * 1e6))
    data = path.read_bytes()
    stores = iter(range(10**6))

    def whole() -> None:
        (document,) = find_documents(path, holds_report)
        assert isinstance(document, Document)
        add(folder / f"{next(stores)}.sqlite", [Entry(read_report(document))])

    loads, imports = interleaved((lambda: json.loads(data), whole), repeats)
    operations = len(read_report(Document(data, "large.json")).operations)
    print(f"report of {len(data) / 1e6:.1f} MB with {operations:,} dispatched operations, median of {repeats}:")
    print(f"  json.loads {loads:.3f} s, import {imports:.3f} s: {imports / loads:.2f} × (bound 3)")


def time_store(folder: Path, reports: int, repeats: int) -> None:
    store = folder / "many.sqlite"
    report = read_report(Document(SAMPLE.read_bytes(), "report.json"))
    entries = []
    for i in range(reports):
        device = replace(report.device, model=f"iPhone {i % 17}", os=f"iOS {i % 7}")
        source = replace(report.source, sha256=hashlib.sha256(str(i).encode()).hexdigest())
        model = replace(report.model, name=f"variant_{i % 12}")
        entries.append(Entry(replace(report, device=device, source=source, model=model)))
    start = time.perf_counter()
    add(store, entries)
    seconds = time.perf_counter() - start
    print(f"store of {reports:,} reports, {store.stat().st_size / 1e6:.0f} MB, filled in {seconds:.1f} s")
    ids = [entries[i].report.source.sha256[:12] for i in (0, 1)]
    for words in (
        ("list",),
        ("list", "--limit", "0"),
        ("list", "--limit", "0", "--json"),
        ("compare",),
        ("compare", *ids),
    ):
        (seconds,) = interleaved((lambda words=words: command(*words, "--store", str(store)),), repeats)
        print(f"  fuseport xcode {' '.join(words)}: {seconds:.2f} s (bound 1)")


def interleaved(calls: tuple[Callable[[], object], ...], repeats: int) -> list[float]:
    """The median seconds of each call, taken in turns."""
    samples: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats):
        for call, series in zip(calls, samples, strict=True):
            start = time.perf_counter()
            call()
            series.append(time.perf_counter() - start)
    return [median(series) for series in samples]


def command(*words: str) -> None:
    code = "from fuseport.export.commands.xcode import command; command(prog_name='fuseport xcode')"
    subprocess.run([sys.executable, "-c", code, *words], check=True, stdout=subprocess.DEVNULL, env=os.environ)


def large_report(size: float) -> bytes:
    """The sample with its block of operations repeated, every name made new, in the style that Xcode prints."""
    document = json.loads(SAMPLE.read_bytes())
    block = document["deviceResults"]["modelStructure"]["program"]["_0"]["functions"]["main"]["block"]
    text = json.dumps(block["operations"])
    names = [output["name"] for operation in block["operations"] for output in operation["outputs"]]
    copies = max(1, round(size / 72_500))  # bytes of one copy as printed here, with the longer names
    operations = []
    for i in range(copies):
        renamed = text
        for name in names:
            renamed = renamed.replace(f'"{name}"', f'"{name}_{i}"')
        operations += json.loads(renamed)
    for operation in operations:
        if "cost" in operation:
            operation["cost"]["weight"] /= copies
    block["operations"] = operations
    return json.dumps(document, indent=2, separators=(",", " : "), ensure_ascii=False).encode()


if __name__ == "__main__":
    main()
